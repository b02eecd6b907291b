"""The one safe reader of git and of ``gh``: nothing that a repository names runs, or is even read.

git is never pointed at a repository. It gets an empty git folder of ours (:mod:`.shadow`) that
borrows the repository's objects; references, the index and the working files are read here, as
bytes, within bounds. ``gh`` runs in an empty folder, with the repository's name given.
"""
