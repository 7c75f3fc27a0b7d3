"""Binary formats declared once with construct: RTP, RTCP, PS, PES, PTZ."""
