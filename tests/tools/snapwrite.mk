TOOLS += snapwrite
