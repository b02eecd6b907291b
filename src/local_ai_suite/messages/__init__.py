"""What a person reads, in that person's language.

    tr("port {port} is taken", port=8000)   a text for later: English until somebody shows it
    say("Nothing was running.")             a text for the terminal, now, in the chosen language
    translated(error.message)               what the terminal shows for a text made with ``tr``
    speak(os.environ)                       chooses the language; only the command line calls it

A :class:`Text` *is* its English sentence (a ``str``), so JSON, logs, HTTP answers and state files
stay English without anybody's doing; it remembers the template and the values for the terminal.
The translations are gettext catalogues beside this file; ``tools/messages.py`` brings them up to
date and ``tests/messages`` fails on a text that is unmarked, untranslated or gone.
"""

from .language import looked_up, say, speak, speaks, translated
from .text import Text, counted, joined, tr

__all__ = ["Text", "counted", "joined", "looked_up", "say", "speak", "speaks", "tr", "translated"]
