// Package policytest is what the tests of a policy call. It holds the contract that
// every policy keeps (Run), plays scenarios that a user can read (Play), and has a
// small engine in memory for unit tests (New).
//
// # In a policy's folder
//
//	func TestContract(t *testing.T) { policytest.Run(t, ratelimit.Kind) }
//
// Run plays testdata/*.txtar and the examples of README.md. Whatever uses a kind
// that was not handed to it is built and played by the test of package policies,
// which knows all of them: a policy's own test imports no other policy.
//
// # Scenarios
//
// A scenario is a txtar file: a configuration, then calls and what is expected of
// them. It may have more configurations, to reload.
//
//	-- config.yaml --
//	policies:
//	  - rate_limit: { requests: 1, per: 1m }
//	-- calls --
//	> GET /orders
//	< 200
//
//	> GET /orders
//	< 429
//	< retry-after: 60
//	= nothing
//
//	+ 1m
//	> GET /orders
//	< 200
//
// The configuration has `policies` and, where they are needed, `consumers`, written
// as at the top level of a real one. The policies run in stage order in front of an
// origin that answers 200 with the text "hello" unless it is told otherwise.
//
// A line of the calls begins with one character and a space:
//
//	> GET /path?query     a call; an absolute URL sets the scheme and the host too
//	> name: value         a field of the request; may be given several times
//	> {name}: value       a named part of the path, as a route with /{name} has it
//	> body text           a line of the request body; "body*500 text" is 500 such lines
//	~ 503                 the status with which the origin answers this call
//	~ name: value         a field of the origin's answer
//	~ body text           a line of the origin's answer; "~ !body" for none
//	~ hold                the origin does not answer this call until "* release"
//	~ problem code        the origin is out of reach: the call ends in a problem that
//	                      the gateway itself declares, such as upstream_response_timeout
//	< 200                 the status that the client gets; every call needs one
//	< name: value         a field that the client gets (one of several may match)
//	< name ~ regexp       a field whose value matches
//	< !name               a field that the client does not get
//	< body text           the whole body, line for line; gzip and deflate are undone
//	< body ~ regexp       a body that matches; "< !body" for none
//	< code rate_limited   the code of the problem
//	< closed              the connection is closed without an answer (in place of a status)
//	= GET /path?query     what the origin is asked; "= path /x", "= query a=b",
//	                      "= method GET", "= host example.com" look at one part
//	= name: value         a field that the origin gets; "= name ~ regexp", "= !name" too
//	= body text           the body that the origin gets; "= body ~ regexp", "= !body" too
//	= nothing             the origin is not asked
//	+ 30s                 time goes by
//	@ 192.0.2.7           the calls from here on come from this address
//	@ 192.0.2.7 as acme   and were made by this consumer, as if an earlier policy had said so
//	* reload              the policies are built anew and the old ones closed;
//	                      "* reload other.yaml" takes another file of the scenario
//	* release             the origin answers all calls that it holds, one after another
//	# text                a remark
//
// Names of fields are compared without regard to case. A body of several lines is
// joined by "\n", without one at the end.
//
// # Examples in a README
//
// Under "## Examples" every block marked yaml is a configuration like the one above
// and is built. If the next block that follows it is marked text, it holds calls and is
// played.
package policytest
