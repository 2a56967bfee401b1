TOOLS += rawcopy
