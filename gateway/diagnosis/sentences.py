"""What a diagnosis may say: one sentence about what is so, one about what to do. The page has them in Chinese too."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sentences:
    """`text` says what is so, `advice` what to do (empty: nothing). Both have places for values in braces."""

    text: str
    advice: str = ""


SENTENCES: Final = {
    # registration
    "registered": Sentences("Registered since {since} over {transport} from {remote}, until {until}."),
    "never_registered": Sentences(
        "The device never registered, and no REGISTER of it was seen since the gateway started.",
        "Type into the camera: SIP server ID {server_id}, domain {domain}, server {sip}, device ID {device_id}. "
        "Then check that it reaches that address over UDP and TCP.",
    ),
    "wrong_password": Sentences(
        "{count} REGISTERs from {source} had a wrong password, the last one {ago} ago.",
        "Type the password of credential {credential} into the camera. After five failures in a minute "
        "it has to wait a minute.",
    ),
    "challenge_unanswered": Sentences(
        "The device asked to register from {source} {ago} ago, but did not answer the question for its password.",
        "Give the camera its authentication password. If it has one, our 401 does not reach it: look at the SIP trace.",
    ),
    "register_refused": Sentences(
        "{count} REGISTERs from {source} were refused, the last one {ago} ago: {reason}.",
        "Do away with the reason named; a ban ends by itself after a minute.",
    ),
    "stranger": Sentences(
        "An unknown ID {id} asks from {source} to be registered.",
        "If that is this camera, its device ID was mistyped: it must be {device_id}.",
    ),
    "registration_ended": Sentences(
        "The device is not registered any more: it unregistered, or its registration ended at {until}.",
        "Check that the camera has power and network, and that GB/T 28181 is still switched on in it.",
    ),
    "silent": Sentences(
        "Nothing was heard of the device for {ago}; after {patience} of silence it is offline.",
        "Check its power and network. Behind a NAT or firewall that forgets UDP, lower the keepalive interval "
        "in the camera or let it register over TCP.",
    ),
    "two_addresses": Sentences(
        "Registrations come from two addresses in turn: two devices share this ID.",
        "Give each device an ID of its own.",
    ),
    # keepalive
    "keepalive": Sentences("Last heard {ago} ago; keepalives come every {interval}."),
    "keepalive_unknown": Sentences("Last heard {ago} ago; the interval between keepalives is not learnt yet."),
    "keepalive_late": Sentences(
        "Last heard {ago} ago, although keepalives come every {interval}; after {patience} the device is offline.",
        "If this happens often, packets get lost on the way: check the network, or let the device register over TCP.",
    ),
    "clock_drift": Sentences(
        "The device's clock differs from ours by {drift}.",
        "Set the camera's time or switch on NTP; recordings are looked for by its clock.",
    ),
    # catalogue
    "catalogue": Sentences("The catalogue was read; codes in it: {codes}."),
    "catalogue_reading": Sentences("The catalogue is being read."),
    "catalogue_missing": Sentences(
        "The device has not answered the catalogue query.",
        "Ask again (channel-refresh). If it never answers, look at the device's deviations and the SIP trace.",
    ),
    "reported_off": Sentences(
        "The device reports this channel as OFF.",
        "Check the camera behind the NVR, then read the catalogue again (channel-refresh).",
    ),
    # invitation
    "not_invited": Sentences("Nobody has invited this channel.", "Invite it."),
    "device_away": Sentences("The channel is called again as soon as its device is back."),
    "calling": Sentences("The call is being made, it is at: {state}."),
    "retrying": Sentences("The call ended; the channel is called again shortly."),
    "call_stands": Sentences("The call stands, over {transport}."),
    "no_port": Sentences(
        "The gateway had no free port for the video: {detail}.", "Widen rtp.port_min to rtp.port_max."
    ),
    "device_offline": Sentences("The device went offline during the call.", "See the registration above."),
    "no_answer": Sentences(
        "The device did not answer the INVITE within the time.",
        "It is registered, yet requests do not reach it, or it is too busy: look at the SIP trace. "
        "Behind a NAT, a shorter keepalive interval or registration over TCP keeps the way open.",
    ),
    "refused": Sentences("The device refused the INVITE with {status} {detail}.", "{hint}"),
    "bad_answer": Sentences(
        "The device answered with an SDP that cannot be used: {detail}.",
        "Try the other transport (tcp_priority), and keep the SIP trace for the maker.",
    ),
    "connect_failed": Sentences(
        "The device's media address could not be connected to: {detail}.",
        "TCP active needs a way from the gateway to the device: behind a NAT use TCP passive or UDP.",
    ),
    "no_connection": Sentences(
        "The device accepted, but its TCP connection to {media} did not come.",
        "Check that the device reaches {media} over TCP: firewall, port forwarding, rtp.advertise.",
    ),
    "no_media": Sentences(
        "The device accepted, but not one packet came to {media} over {transport}.",
        "Check that the device reaches {media}: firewall, port forwarding, rtp.advertise. "
        "Where UDP is blocked, TCP helps (tcp_priority).",
    ),
    "no_video": Sentences(
        "Packets came, but no picture could be made of them within the time.",
        "Check in the camera that the video is H.264 or H.265 and the key frame interval at most a few seconds; "
        "`gateway inspect --channel` explains what comes.",
    ),
    "wrong_payload": Sentences(
        "What the device sends cannot be read: {detail}.",
        "Set the camera to PS over RTP with H.264 or H.265, without encryption and without a maker's own codec.",
    ),
    "media_lost": Sentences(
        "The video stopped: {detail}.", "Check the network and the camera's load; the channel is called again."
    ),
    "device_bye": Sentences(
        "The device ended the call itself.",
        "Often too many connections at once: close other platforms or viewers of this camera.",
    ),
    # media
    "media": Sentences("{received} of {expected} packets came from {peer} to port {port}: {payload}, SSRC {ssrc}."),
    "media_awaited": Sentences("No packet has come to {media} over {transport} yet."),
    "ssrc_differs": Sentences("The device sends SSRC {got}, {asked} was asked for; it was accepted."),
    "loss": Sentences(
        "{percent} % of the packets were lost.",
        "Use TCP for this channel (tcp_priority), or lower the bit rate; if packets come in bursts, "
        "raise net.core.rmem_max.",
    ),
    "rejected": Sentences(
        "{count} packets of other senders or with another SSRC were rejected.",
        "If this device sends from another address than it registered from, its answer must name that address.",
    ),
    "faults": Sentences(
        "The stream departs from the standards: {names}.",
        "See the table of faults in docs/media.md for what each costs.",
    ),
    # picture
    "picture": Sentences("{codec} {width}×{height}, {fps} pictures a second; the first key frame came after {ms} ms."),
    "key_frame_awaited": Sentences(
        "Packets come, but no key frame has come yet.", "Shorten the key frame interval (GOP) in the camera."
    ),
    "sound_alone": Sentences(
        "The device sends sound but no picture.", "Check that this is a video channel, and that its camera works."
    ),
    "h265": Sentences(
        "The video is H.265, which not every browser plays.",
        "Where only a browser stays black, set the camera to H.264, or play the address in VLC or ffplay.",
    ),
    "sound": Sentences("Sound is {codec}, {rate} Hz."),
    # viewers
    "viewers": Sentences("Watched by {count}: {formats}."),
    "unwatched": Sentences("Nobody is watching now."),
}

HINTS: Final = {
    400: "It did not understand the request: look at the SIP trace, and try the other transport (tcp_priority).",
    403: "It forbids it: check the platform's permissions in the device, and the channel's ID.",
    404: "It does not know the channel: read the catalogue again (channel-refresh).",
    408: "Its own camera did not answer: check the camera behind the NVR.",
    480: "Its own camera is away: check the camera behind the NVR.",
    481: "It has lost the call: invite again.",
    486: "It is busy: close other platforms or viewers of this camera, or restart it.",
    488: "It cannot do what was offered: try the other transport (tcp_priority), and PS encapsulation in the camera.",
    500: "The device failed inside: restart it, and update its firmware.",
    503: "It is overloaded or restarting: wait, then lower the number of streams taken from it.",
}
"""What to do about a status that a device refuses with."""
HINT: Final = "Look at the SIP trace for what the device says."
