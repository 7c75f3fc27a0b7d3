"""Binary formats declared once with construct: RTP, RTCP, their TCP framing, PS, PES, TS, PTZ.

These declarations are the product's written truth about the formats. They build packets in tests, explain captures to a
person (`gateway inspect`), and are the oracle that the Rust decoder must agree with. They are meant to be read beside
the tables of the standards; nothing here runs on the media path.

A declaration `parse`s what can be understood and leaves judging to its reader: marker bits, reserved bits and check
sums are fields, not conditions. Whatever cannot be parsed raises `construct.ConstructError` and nothing else.
"""
