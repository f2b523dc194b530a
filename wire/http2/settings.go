package http2

import "encoding/binary"

// The settings (RFC 9113 §6.5.2; the last one is RFC 8441 §3).
const (
	settingTableSize     = 0x1
	settingPush          = 0x2
	settingStreams       = 0x3
	settingWindow        = 0x4
	settingFrameSize     = 0x5
	settingHeaderList    = 0x6
	settingConnect       = 0x8
	settingNoRFC7540Prio = 0x9
)

const settingLen = 6

// settings is what a peer has said of itself.
type settings struct {
	tableSize  uint32
	streams    uint32
	window     int64
	frameSize  uint32
	headerList uint32
	connect    bool // extended CONNECT is understood
	tableGiven bool // tableSize was among the last ones
	tableLeast uint32
}

// firstSettings are in force before the peer has said anything.
func firstSettings() settings {
	return settings{tableSize: 4096, streams: ^uint32(0), window: firstWindow, frameSize: frameSize, headerList: ^uint32(0)}
}

// apply takes over the payload of a SETTINGS frame, in order; unknown ones are
// ignored. fromServer says who sent it.
func (s *settings) apply(payload []byte, fromServer bool) *fault {
	s.tableGiven = false
	for ; len(payload) >= settingLen; payload = payload[settingLen:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch binary.BigEndian.Uint16(payload) {
		case settingTableSize:
			// The smallest of several values counts too: it empties the table (RFC 7541 §4.2).
			if !s.tableGiven || value < s.tableLeast {
				s.tableLeast = value
			}
			s.tableSize, s.tableGiven = value, true
		case settingPush:
			if value > 1 || value == 1 && fromServer {
				return broken(ProtocolError, "SETTINGS_ENABLE_PUSH has a value that it may not have")
			}
		case settingStreams:
			s.streams = value
		case settingWindow:
			if value > maxWindow {
				return broken(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1")
			}
			s.window = int64(value)
		case settingFrameSize:
			if value < frameSize || value > 1<<24-1 {
				return broken(ProtocolError, "SETTINGS_MAX_FRAME_SIZE is not between 2^14 and 2^24-1")
			}
			s.frameSize = value
		case settingHeaderList:
			s.headerList = value
		case settingConnect:
			if value > 1 || value == 0 && s.connect {
				return broken(ProtocolError, "SETTINGS_ENABLE_CONNECT_PROTOCOL has a value that it may not have")
			}
			s.connect = value == 1
		case settingNoRFC7540Prio: // RFC 9218 §2.1. We look at neither kind of priority.
			if value > 1 {
				return broken(ProtocolError, "SETTINGS_NO_RFC7540_PRIORITIES has a value that it may not have")
			}
		}
	}
	return nil
}

func appendSetting(out []byte, id uint16, value uint32) []byte {
	out = binary.BigEndian.AppendUint16(out, id)
	return binary.BigEndian.AppendUint32(out, value)
}
