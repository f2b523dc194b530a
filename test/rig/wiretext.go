package rig

import (
	"fmt"
	"strconv"
	"strings"
)

// Unescape turns the notation of scripts into bytes: \r \n \t \\ \xNN, and
// \*1000{ab} for "ab" a thousand times.
func Unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		text, used, err := escape(s[i:])
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		i += used - 1
	}
	return b.String(), nil
}

// escape reads one escape at the start of s and says how long it is.
func escape(s string) (text string, used int, err error) {
	if len(s) < 2 {
		return "", 0, fmt.Errorf(`a lone \ at the end of %q`, s)
	}
	switch s[1] {
	case 'r':
		return "\r", 2, nil
	case 'n':
		return "\n", 2, nil
	case 't':
		return "\t", 2, nil
	case '\\':
		return `\`, 2, nil
	case 'x':
		if len(s) < 4 {
			return "", 0, fmt.Errorf(`\x wants two digits in %q`, s)
		}
		n, err := strconv.ParseUint(s[2:4], 16, 8)
		return string([]byte{byte(n)}), 4, err
	case '*':
		open, end := strings.IndexByte(s, '{'), strings.IndexByte(s, '}')
		if open < 0 || end < open {
			return "", 0, fmt.Errorf(`write \*COUNT{TEXT}, not %q`, s)
		}
		n, err := strconv.Atoi(s[2:open])
		if err != nil || n < 0 {
			return "", 0, fmt.Errorf(`write \*COUNT{TEXT}, not %q`, s)
		}
		return strings.Repeat(s[open+1:end], n), end + 1, nil
	}
	return "", 0, fmt.Errorf(`unknown escape %q`, s[:2])
}

// Lines turns the lines of a block into bytes: each ends in CRLF, and a line that
// ends in a single \ joins the following one, or ends the block without CRLF.
func Lines(lines []string) (string, error) {
	var b strings.Builder
	for _, line := range lines {
		joined := strings.HasSuffix(line, `\`) && !strings.HasSuffix(line, `\\`)
		if joined {
			line = strings.TrimSuffix(line, `\`)
		}
		text, err := Unescape(line)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		if !joined {
			b.WriteString("\r\n")
		}
	}
	return b.String(), nil
}

// Quote shows bytes in an error message, cut where they are many.
func Quote(s string) string {
	const most = 2000
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return strconv.Quote(s)
}

// Archive splits a txtar archive: a comment, then files, each behind a line
// "-- name --".
func Archive(data string) (comment string, files map[string]string, order []string) {
	files = map[string]string{}
	name, start := "", 0
	put := func(text string) {
		if name == "" {
			comment = text
			return
		}
		files[name] = text
		order = append(order, name)
	}
	for at := 0; at < len(data); {
		end := strings.IndexByte(data[at:], '\n')
		if end < 0 {
			end = len(data) - at - 1
		}
		line := strings.TrimSpace(data[at : at+end+1])
		if strings.HasPrefix(line, "-- ") && strings.HasSuffix(line, " --") && len(line) > 6 {
			put(data[start:at])
			name = strings.TrimSpace(line[3 : len(line)-3])
			start = at + end + 1
		}
		at += end + 1
	}
	put(data[start:])
	return comment, files, order
}
