package grpcweb

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// ErrText says that a body is not base64.
var ErrText = errors.New("the body is not base64")

// Decoder decodes base64 that arrives in chunks and consists of any number of pieces, each
// of which may have padding. The zero value is ready.
type Decoder struct {
	group [4]byte
	have  int
}

// Decode decodes what fits into dst, and says how many bytes that are and how many of src
// they took. dst has room for three bytes at least.
func (d *Decoder) Decode(dst, src []byte) (made, taken int, err error) {
	if d.have > 0 {
		taken = copy(d.group[d.have:], src)
		if d.have += taken; d.have < len(d.group) {
			return 0, taken, nil
		}
		d.have = 0
		if made, err = groups(dst, d.group[:]); err != nil {
			return 0, taken, err
		}
	}
	for len(dst)-made >= 3 && len(src)-taken >= 4 {
		piece := src[taken:]
		piece = piece[:min(len(piece)/4, (len(dst)-made)/3)*4]
		if pad := bytes.IndexByte(piece, '='); pad >= 0 {
			piece = piece[:pad/4*4+4]
		}
		n, err := groups(dst[made:], piece)
		if err != nil {
			return made, taken, err
		}
		made, taken = made+n, taken+len(piece)
	}
	if len(src)-taken < 4 {
		d.have = copy(d.group[:], src[taken:])
		taken = len(src)
	}
	return made, taken, nil
}

// Whole says whether what has come does not end in the middle of a group.
func (d *Decoder) Whole() bool { return d.have == 0 }

// groups decodes groups of four characters, of which only the last one has padding. Line
// ends, which the library steps over, are no part of them.
func groups(dst, src []byte) (int, error) {
	n, err := base64.StdEncoding.Decode(dst, src)
	padding := 0
	for padding < 2 && src[len(src)-1-padding] == '=' {
		padding++
	}
	if err != nil || n != len(src)/4*3-padding {
		return 0, ErrText
	}
	return n, nil
}
