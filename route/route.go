// Package route is the matcher of the gateway: host → path → method → the rest →
// the index of a rule. It also has the one spelling of a path (Normalize).
//
// A wire normalises the path of a request once; the engine calls Table.Match once.
// Compile parses hosts, paths and conditions (ParseHost, ParsePattern,
// RegexPattern, RegexCondition) and calls Build at every reload; sluice check
// shows its shadows, sluice explain calls Table.Explain.
//
// # Which rule wins
//
// Of all rules that match, the most specific one, whatever their order. These are
// compared in turn, and the first that differs decides:
//
//  1. Host: exact before wildcard before none; among wildcards the longest.
//  2. Path: exact, then segments (a pattern with {parameters}), then prefix, then
//     regex, then a rule without paths. Among segment patterns, the one that, read
//     from the left, is the first to have a literal where the other has a
//     parameter: /a/b/{y} before /a/{x}/c. Among prefixes the one with more
//     segments, then as before: /a/{x}/** before /a/**, /a/b/** before /a/{x}/**.
//     /files/** and /files/{rest...} are equal. Regexes are equal.
//  3. Conditions: the rule with more of them. Each header and each query condition
//     counts one, a list of methods counts one, however long.
//  4. A rule that is bound to listeners before one that is not.
//  5. The rule written first.
//
// A rule whose host and path are the most specific but whose method, header, query
// or listener does not fit is passed over, and the next one is asked, down to less
// specific paths and then less specific hosts. Methods are taken as written: GET
// does not include HEAD. The request target "*" (OPTIONS) is met only by rules
// without paths.
//
// # How it is found
//
// Patterns are sorted by form. A form is what is left of a pattern without its
// literal text: its kind, its number of segments, and the places of its
// parameters. /users/{id} and /orders/{number} have one form, /orders/** another.
// However many routes there are, there are few forms; a host seldom has more than
// ten.
//
// A request's path is cut into segments, eight bytes at a time, and each segment is
// hashed with its place. The hash of a path seen through a form is the sum of the
// hashes of the segments that the form keeps: a difference of running sums. So, for
// a host, the table goes through the host's forms in order of precedence and looks
// up (host, form, literals) in one hash table; what it finds is compared text for
// text. Hosts are tried the same way: the exact one, the wildcards above it, the
// rules without host. This is not a tree, so nothing is gone into and left again:
// the number of look-ups is at most the number of the hosts' forms, and one that is
// in vain costs about one cache miss.
//
// A hit names a run of entries, the rules with this very host and path, in order
// of precedence. They are asked one by one: a set of bits for the method, and, for
// the rules that have them, header, query and listener conditions. Regexes of a
// host are one such run, so each costs its own evaluation, in order.
//
// # Cost
//
// No allocation (requestHost and Condition name two exceptions that no ordinary
// request meets). BenchmarkMatch, on a machine where a miss of the second-level
// cache costs about 40 ns: 75 to 130 ns with 10 rules, 130 to 220 ns with 100,000.
// What grows is only what the processor's caches no longer hold. Linear costs, all
// of them within one host: rules with the same host and path, and regexes.
//
// Build makes a table of 100,000 rules in 32 to 52 ms of CPU time, during which it
// calls pace every 128 items, and takes 16 to 27 MB, of which about 10 stay.
//
// # Invariants
//
//   - A Table never changes. It has no pointers but those to its arrays, to parameter names
//     and to the conditions that some rules have, so the garbage collector has
//     little to look at, whatever the number of rules.
//   - forms is sorted by precedence and a form's id is its index; each list in lists
//     is a sorted part of it.
//   - hosts and nodes are open-addressed with a third of the slots empty: there is
//     always an empty one, so every probe ends. Hashes are seeded anew in each
//     Build, so nobody can write routes or requests that meet in one place.
//   - The entries of a node are contiguous, sorted by weight, then by rule; the
//     last one says so.
//   - twin_test.go has the same matcher as a linear scan; random rules and requests are put to
//     both.
package route
