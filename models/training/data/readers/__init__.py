"""The file formats that data sets come in, one a file: each read into the same frozen records, all faults in one error.

`parse_…` gives what is good and what is wrong, for `shitu data lint`; `read_…` gives it all or raises one DatasetError.
"""
