package route

// methodSet has a bit for each method of RFC 9110 §9.3 and RFC 5789, and one that
// says that there are others, by name, elsewhere.
type methodSet uint16

const otherMethod methodSet = 1 << 15

// knownMethods gives bit i to method i.
var knownMethods = [...]string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// methodBit is the bit of a method; methods are case-sensitive (RFC 9110 §9.1).
func methodBit(method string) methodSet {
	switch method {
	case "CONNECT":
		return 1 << 0
	case "DELETE":
		return 1 << 1
	case "GET":
		return 1 << 2
	case "HEAD":
		return 1 << 3
	case "OPTIONS":
		return 1 << 4
	case "PATCH":
		return 1 << 5
	case "POST":
		return 1 << 6
	case "PUT":
		return 1 << 7
	case "TRACE":
		return 1 << 8
	}
	return otherMethod
}

// names are the methods that have a bit in the set.
func (s methodSet) names() []string {
	var names []string
	for i, name := range knownMethods {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}
