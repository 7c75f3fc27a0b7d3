"""WebRTC: browsers play streams (WHEP) and publish them (WHIP), by aiortc."""
