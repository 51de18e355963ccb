"""placeholder"""
def document(table):
    return {}
