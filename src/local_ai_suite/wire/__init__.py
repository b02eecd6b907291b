"""What both HTTP services share: checks at the door, error bodies, serving, passing bytes on."""
