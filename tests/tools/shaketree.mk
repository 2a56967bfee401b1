TOOLS += shaketree
