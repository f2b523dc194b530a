package conformance

// Answer is what an origin sends to "GET /" (or Method), and what the client must
// then see.
type Answer struct {
	Name   string
	Rule   string
	Method string // "GET" where empty
	Bytes  string
	Closes bool // the origin closes behind it
	// Status is what the client gets: 502 for a head that is wrong. A Status of 200
	// goes with Broken.
	Status int
	// Broken says that the head was right and the body is not: the client must see
	// that the answer has no end.
	Broken bool
}

const ok = "HTTP/1.1 200 OK\r\n"

// BadAnswers must never reach a client as they are, and cost the connection.
var BadAnswers = []Answer{
	// Status lines.
	{Name: "garbage", Rule: "RFC 9112 §4", Bytes: "hello\r\n\r\n", Status: 502},
	{Name: "HTTP/0.9", Rule: "RFC 9112 §4", Bytes: "<html>hello</html>", Closes: true, Status: 502},
	{Name: "another protocol", Rule: "RFC 9112 §4", Bytes: "SSH-2.0-OpenSSH_9.2\r\n", Closes: true, Status: 502},
	{Name: "version 2.0", Rule: "RFC 9112 §4", Bytes: "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "version with two digits", Rule: "RFC 9112 §4", Bytes: "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "version in lower case", Rule: "RFC 9112 §4", Bytes: "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "status of two digits", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "status of four digits", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "status of letters", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 OK OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "status below 100", Rule: "RFC 9110 §15", Bytes: "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "status with a sign", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "two spaces in front of the status", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "no status", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "status line ends in bare LF", Rule: "RFC 9112 §2.2", Bytes: "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "reason with a control", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "reason with bare CR", Rule: "RFC 9112 §2.2", Bytes: "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "101 that nobody asked for", Rule: "RFC 9110 §15.2.2", Bytes: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Status: 502},

	// Fields.
	{Name: "field line ends in bare LF", Rule: "RFC 9112 §2.2", Bytes: ok + "X-A: one\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "folded value", Rule: "RFC 9112 §5.2", Bytes: ok + "X-A: one\r\n two\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "space in front of the colon", Rule: "RFC 9112 §5.1", Bytes: ok + "X-A : one\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "line without a colon", Rule: "RFC 9112 §5", Bytes: ok + "X-A\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "empty name", Rule: "RFC 9110 §5.1", Bytes: ok + ": one\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "value with NUL", Rule: "RFC 9110 §5.5", Bytes: ok + "X-A: \x00\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "value with bare CR", Rule: "RFC 9110 §5.5", Bytes: ok + "X-A: one\rtwo\r\nContent-Length: 0\r\n\r\n", Status: 502},
	{Name: "head that ends early", Rule: "RFC 9112 §8", Bytes: ok + "Content-Len", Closes: true, Status: 502},
	{Name: "head without its empty line", Rule: "RFC 9112 §8", Bytes: ok + "Content-Length: 0\r\n", Closes: true, Status: 502},

	// Bodies where there can be none.
	{Name: "204 with a body", Rule: "RFC 9110 §15.3.5", Bytes: "HTTP/1.1 204 No Content\r\n\r\nhello", Status: 502},
	{Name: "304 with a body", Rule: "RFC 9110 §15.4.5", Bytes: "HTTP/1.1 304 Not Modified\r\n\r\nhello", Status: 502},
	{Name: "HEAD answered with a body", Rule: "RFC 9110 §9.3.2", Method: "HEAD", Bytes: ok + "Content-Length: 5\r\n\r\nhello", Status: 502},

	// Lengths and codings.
	{Name: "Content-Length with a plus", Rule: "RFC 9110 §8.6", Bytes: ok + "Content-Length: +5\r\n\r\nhello", Status: 502},
	{Name: "Content-Length with a minus", Rule: "RFC 9110 §8.6", Bytes: ok + "Content-Length: -5\r\n\r\nhello", Status: 502},
	{Name: "Content-Length is a list", Rule: "RFC 9112 §6.3", Bytes: ok + "Content-Length: 5, 5\r\n\r\nhello", Status: 502},
	{Name: "Content-Length twice", Rule: "RFC 9112 §6.3", Bytes: ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Status: 502},
	{Name: "Content-Length twice and equal", Rule: "RFC 9112 §6.3", Bytes: ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Status: 502},
	{Name: "Content-Length past 63 bits", Rule: "RFC 9110 §8.6", Bytes: ok + "Content-Length: 9223372036854775808\r\n\r\n", Status: 502},
	{Name: "empty Content-Length", Rule: "RFC 9110 §8.6", Bytes: ok + "Content-Length:\r\n\r\n", Status: 502},
	{Name: "Content-Length and Transfer-Encoding", Rule: "RFC 9112 §6.3", Bytes: ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Status: 502},
	{Name: "chunked twice", Rule: "RFC 9112 §6.1", Bytes: ok + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Status: 502},
	{Name: "chunked, identity", Rule: "RFC 9112 §6.1", Bytes: ok + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", Status: 502},
	{Name: "unknown coding", Rule: "RFC 9112 §6.1", Bytes: ok + "Transfer-Encoding: gzip\r\n\r\nhello", Closes: true, Status: 502},
	{Name: "gzip, chunked", Rule: "RFC 9112 §6.1", Bytes: ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Status: 502},
	{Name: "xchunked", Rule: "RFC 9112 §6.1", Bytes: ok + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Status: 502},
	{Name: "Transfer-Encoding in HTTP/1.0", Rule: "RFC 9112 §6.1", Bytes: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Status: 502},

	// Bodies that end early or are framed wrongly: the head has gone out by then.
	{Name: "body shorter than its length", Rule: "RFC 9112 §8", Bytes: ok + "Content-Length: 10\r\n\r\nhello", Closes: true, Status: 200, Broken: true},
	{Name: "no body where a length was announced", Rule: "RFC 9112 §8", Bytes: ok + "Content-Length: 10\r\n\r\n", Closes: true, Status: 200, Broken: true},
	{Name: "chunks without the last one", Rule: "RFC 9112 §8", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Closes: true, Status: 200, Broken: true},
	{Name: "chunk that ends early", Rule: "RFC 9112 §8", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", Closes: true, Status: 200, Broken: true},
	{Name: "trailers that end early", Rule: "RFC 9112 §8", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: ", Closes: true, Status: 200, Broken: true},
	{Name: "chunk size with a sign", Rule: "RFC 9112 §7.1", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n", Status: 200, Broken: true},
	{Name: "chunk size with 0x", Rule: "RFC 9112 §7.1", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0x5\r\nhello\r\n0\r\n\r\n", Status: 200, Broken: true},
	{Name: "chunk data without CRLF", Rule: "RFC 9112 §7.1", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello5\r\nhello\r\n0\r\n\r\n", Status: 200, Broken: true},
	{Name: "extension with bare LF", Rule: "RFC 9112 §7.1.1", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5;a\nhello\r\n0\r\n\r\n", Status: 200, Broken: true},
	{Name: "trailer without a colon", Rule: "RFC 9112 §7.1.2", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A\r\n\r\n", Status: 200, Broken: true},
}

// Surplus are answers that are right but followed by something: the client gets
// the answer, and the connection is never used again.
var Surplus = []Answer{
	{Name: "bytes behind a body", Rule: "RFC 9112 §6.3", Bytes: ok + "Content-Length: 5\r\n\r\nhello!", Status: 200},
	{Name: "a second answer", Rule: "RFC 9112 §9.3", Bytes: ok + "Content-Length: 5\r\n\r\nhello" + ok + "Content-Length: 4\r\n\r\nevil", Status: 200},
	{Name: "bytes behind the last chunk", Rule: "RFC 9112 §7.1", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nevil", Status: 200},
}

// GoodAnswers are odd but right.
var GoodAnswers = []Answer{
	{Name: "no reason", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", Status: 200},
	{Name: "no reason and no space", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", Status: 200},
	{Name: "reason with bytes above 127", Rule: "RFC 9112 §4", Bytes: "HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 5\r\n\r\nhello", Status: 200},
	{Name: "unknown status", Rule: "RFC 9110 §15", Bytes: "HTTP/1.1 299 Fine\r\nContent-Length: 5\r\n\r\nhello", Status: 299},
	{Name: "HTTP/1.0 until the end", Rule: "RFC 9112 §6.3", Bytes: "HTTP/1.0 200 OK\r\n\r\nhello", Closes: true, Status: 200},
	{Name: "HTTP/1.1 until the end", Rule: "RFC 9112 §6.3", Bytes: ok + "\r\nhello", Closes: true, Status: 200},
	{Name: "interim answers first", Rule: "RFC 9110 §15.2", Bytes: "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", Status: 200},
	{Name: "extensions and noughts", Rule: "RFC 9112 §7.1", Bytes: ok + "Transfer-Encoding: chunked\r\n\r\n0005;a=\"b\"\r\nhello\r\n000\r\n\r\n", Status: 200},
}
