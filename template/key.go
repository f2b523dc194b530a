package template

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/sluice-gateway/sluice/message"
)

// Key tells users apart by the values of a template, so that each stays on one side of
// what is divided. A nil Key divides at random.
type Key struct {
	template *Template
	blank    string // the text of a request in which no variable has a value
}

// MaxKey is how long the text of a key may be, in bytes, without an allocation.
const MaxKey = 256

// ParseKey parses the template of a key; no text is no key, which is nil.
func ParseKey(text string) (*Key, error) {
	if text == "" {
		return nil, nil
	}
	t, err := Parse(text, Use{})
	if err != nil {
		return nil, err
	}
	if t.IsLiteral() {
		return nil, fmt.Errorf("%q is the same for all requests, so that all would go to one side: write a variable, such as {consumer.name}", text)
	}
	return &Key{t, t.String(&message.Exchange{})}, nil
}

// Draw returns a number below total: for a key always the one that is at the same
// part of the total, whatever that is, so that a bound that stays at its part of the
// total divides the same keys. Without a value it is random: all who have none on
// one side would be too many.
func (k *Key) Draw(x *message.Exchange, total uint32) uint32 {
	if k == nil {
		return rand.Uint32N(total)
	}
	var room [MaxKey]byte
	text := k.template.Append(room[:0], x)
	if len(text) == 0 || string(text) == k.blank {
		return rand.Uint32N(total)
	}
	return part(hash(text), total)
}

// part maps a hash evenly to 0 … total-1, in its order.
func part(hash uint64, total uint32) uint32 {
	high, _ := bits.Mul64(hash, uint64(total))
	return uint32(high)
}

// hash is FNV-1a with a finaliser, because its upper bits, which decide, are poor. It is
// the same in each process and each version: gateways agree, and a restart moves
// nobody. It is not made against people who choose their key.
func hash(text []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range text {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
