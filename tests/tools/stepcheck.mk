TOOLS += stepcheck
