TOOLS += retree
