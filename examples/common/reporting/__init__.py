"""The report of a run: what is counted (figures), how it is drawn, the page around it, and the files.

A script hands over what it evaluated (`examined.Examined`); `files.write_report` makes ``report.json`` and
``report.html`` of it.
"""
