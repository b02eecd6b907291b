"""A phase as an ordered list of services, up and down.

``phases`` is the table of services. ``runtime`` is up and down in either runtime, ``waiting`` what
`up` waits for, ``status`` what runs. Natively ``native`` starts and stops the ``supervisor``, which
keeps what ``services`` names running; ``docker``, ``compose``, ``mounts`` and ``containers`` do the
same with Docker Compose. ``ports`` and ``disk`` tell what is in the way, ``state`` is the run file
and the lock, ``logs`` follows the services' logs, ``boot`` has systemd start it all.
"""
