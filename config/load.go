package config

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/maphash"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/sluice-gateway/sluice/unit"
)

// Cache makes the next load of the same files cheap: what reads the same is not
// decoded again, and the documents share it. The zero value is ready. It is used
// by one goroutine at a time.
type Cache struct {
	// Pace, if set, is called after every 64 entries, so that the caller can let
	// others run.
	Pace func()
	// Env is where ${env:NAME} is looked up; nil: the environment of the process.
	Env func(name string) (string, bool)

	files map[string][]entry
	plans *plans
	seed  maphash.Seed

	whole bool // tests: read every file as a whole
	read  func(path string) ([]byte, error)
}

// Load reads a file and all that it includes. The error is of the type Problems
// and holds everything that is wrong; what could be read is returned beside it, so
// that a compiler can look for more. Cache may be nil.
func Load(path string, cache *Cache) (*Document, error) {
	if cache == nil {
		cache = &Cache{}
	}
	if cache.files == nil {
		cache.files, cache.seed = map[string][]entry{}, maphash.MakeSeed()
	}
	if cache.plans == nil {
		cache.plans = newPlans()
	}
	if cache.read == nil {
		cache.read = func(path string) ([]byte, error) { return readLimited(path, maxFile, cache.Pace) }
	}
	l := &loader{
		cache:  cache,
		doc:    &Document{Main: path, watched: map[string]string{}},
		hash:   sha256.New(),
		read:   map[string]bool{},
		single: map[string]Position{},
		refs:   newReferences("", cache.Env),
		fresh:  map[string][]entry{},
		faulty: map[any]bool{},
		layout: cache.plans.plan(reflect.TypeFor[layout]()),
	}
	l.file(path, nil, nil)
	l.finish()
	cache.files = l.fresh
	if err := l.problems.Err(); err != nil {
		return l.partly(), err
	}
	return l.doc, nil
}

// loader loads one document.
type loader struct {
	cache    *Cache
	doc      *Document
	problems Problems
	hash     hash.Hash
	layout   *typePlan
	refs     *references
	read     map[string]bool     // files that were read
	single   map[string]Position // where a key that may be given once was given
	fresh    map[string][]entry
	entries  int // for pace
	// within is how many problems belong to an entry; faulty are those entries.
	within int
	faulty map[any]bool
	// names are the hashes of the names in each list; listening are the routes that
	// name listeners.
	names     [lists][]uint64
	listening []int
}

// partly is what a document that has problems is still good for: it knows which
// files to watch, and, where every problem belongs to one entry, it has the other
// entries, in which a compiler may find more.
func (l *loader) partly() *Document {
	if len(l.problems) == l.within {
		return l.sound()
	}
	return &Document{Main: l.doc.Main, Files: l.doc.Files, watched: l.doc.watched}
}

// sound is the document without the entries that have problems. Upstreams stay, for
// their names, which routes refer to; where a listener is not sound, nothing is.
func (l *loader) sound() *Document {
	d := *l.doc
	if d.Listeners = withoutFaulty(l, d.Listeners); len(d.Listeners) < len(l.doc.Listeners) {
		return &Document{Main: d.Main, Files: d.Files, watched: d.watched}
	}
	d.Consumers = withoutFaulty(l, d.Consumers)
	d.Policies = withoutFaulty(l, d.Policies)
	d.Routes = withoutFaulty(l, d.Routes)
	return &d
}

func withoutFaulty[T any](l *loader, items []Item[T]) []Item[T] {
	var sound []Item[T]
	for _, item := range items {
		if !l.faulty[item.Value] {
			sound = append(sound, item)
		}
	}
	return sound
}

func (l *loader) problem(p *Problem) { l.problems = append(l.problems, p) }

// file loads one file. The stack is the files that include it; from makes a problem
// at the place that names it, nil for the main file.
func (l *loader) file(path string, stack []string, from func(message string) *Problem) {
	if from == nil {
		from = func(message string) *Problem {
			return &Problem{Position: Position{path, 1, 1}, Message: message}
		}
	}
	if slices.Contains(stack, path) {
		l.problem(from("includes go in a circle: " + strings.Join(append(stack, path), " includes ")))
		return
	}
	if len(stack) >= maxIncludes {
		l.problem(from("includes are nested too deeply: the limit is 16 files"))
		return
	}
	if l.read[path] {
		return
	}
	l.read[path] = true
	l.doc.watched[path] = stampOf(path) // before it is read: a change meanwhile is seen
	raw, err := l.cache.read(path)
	if err != nil {
		l.problem(from(path + ": " + err.Error()))
		return
	}
	// Nobody writes to raw any more: a copy of many megabytes is saved.
	text := unsafe.String(unsafe.SliceData(raw), len(raw))
	l.hashed(raw)
	if strings.IndexByte(text, '\r') >= 0 {
		text = strings.ReplaceAll(text, "\r\n", "\n") // YAML 1.2 §5.4: both are one line end
	}
	text = strings.TrimPrefix(text, "\ufeff")
	f := &file{l: l, src: &source{name: path, text: text, plans: l.cache.plans}, stack: append(slices.Clone(stack), path)}
	l.refs.dir = filepath.Dir(path)
	f.load(text)
}

// hashed adds a file to the hash, piece by piece.
func (l *loader) hashed(text []byte) {
	for piece := range slices.Chunk(text, 256<<10) {
		l.hash.Write(piece)
		if l.cache.Pace != nil {
			l.cache.Pace()
		}
	}
	l.hash.Write([]byte{0xff}) // no YAML text has this byte: the end of a file
}

// maxIncludes is how deep includes may be nested.
const maxIncludes = 16

// finish looks at the document as a whole.
func (l *loader) finish() {
	l.doc.Hash = hex.EncodeToString(l.hash.Sum(nil))
	for path := range l.read {
		l.doc.Files = append(l.doc.Files, path)
	}
	for _, r := range l.refs.seen {
		if r.path != "" {
			l.doc.Files = append(l.doc.Files, r.path)
		}
	}
	slices.Sort(l.doc.Files)
	l.doc.Files = slices.Compact(l.doc.Files)
	for _, r := range l.refs.seen {
		if r.path != "" {
			l.doc.watched[r.path] = r.stamp
		}
	}
	l.once()
	if len(l.problems) > 0 {
		return
	}
	if len(l.doc.Listeners) == 0 {
		l.problem(&Problem{
			Position: Position{l.doc.Main, 1, 1},
			Message:  `there is no listener: add one, such as listeners: [{name: web, address: ":8080"}]`,
		})
	}
	if l.single["drain"].Line == 0 {
		w := walker{at: place{src: &source{plans: l.cache.plans}}}
		w.absent(reflect.ValueOf(&l.doc.Drain).Elem(), l.cache.plans.plan(reflect.TypeFor[Drain]()), 0)
	}
	l.references()
}

// once reports every name that is given twice in one list.
func (l *loader) once() {
	named(l, listeners, l.doc.Listeners, func(v *Listener) *Text { return &v.Name })
	named(l, upstreams, l.doc.Upstreams, func(v *Upstream) *Text { return &v.Name })
	named(l, consumers, l.doc.Consumers, func(v *Consumer) *Text { return &v.Name })
	named(l, routes, l.doc.Routes, func(v *Route) *Text { return &v.Name })
	addresses := map[unit.Address]Position{}
	for _, item := range l.doc.Listeners {
		at := item.Position(item.Value.Name.Mark)
		if first, ok := addresses[item.Value.Address]; ok && item.Value.Address.Port != 0 {
			p := item.Problem(item.Value.Name.Mark, "another listener has the address "+item.Value.Address.String())
			p.Other = &first
			l.problem(p)
			continue
		}
		addresses[item.Value.Address] = at
	}
}

// named looks at the hashes, and at the names only where two hashes are equal.
func named[T any](l *loader, of list, items []Item[T], name func(*T) *Text) {
	first := newHashSet(len(items))
	for i, hash := range l.names[of] {
		l.pace()
		before := first.add(hash, i)
		if before < 0 {
			continue
		}
		text, other := name(items[i].Value), name(items[before].Value)
		if text.Value == "" || text.Value != other.Value {
			continue // it is missing, which was said
		}
		message := "the name \"" + text.Value + "\" is given twice"
		if route, ok := any(items[i].Value).(*Route); ok && route.derived {
			message = "this route is named \"" + text.Value + "\" by what it matches, like another one: give it a name"
		}
		p := items[i].Problem(text.Mark, message)
		at := items[before].Position(other.Mark)
		p.Other = &at
		l.problem(p)
	}
}

// hashSet finds equal hashes: of a hundred thousand names several times as fast as
// a map of strings, and the names themselves stay out of the cache.
type hashSet struct {
	hashes []uint64
	at     []int32 // 1 + the index that was added
}

func newHashSet(n int) *hashSet {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return &hashSet{make([]uint64, size), make([]int32, size)}
}

// add adds a hash with its index; it returns the index with which an equal hash was
// added before, or -1.
func (s *hashSet) add(hash uint64, index int) int {
	mask := uint64(len(s.hashes) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if s.at[i] == 0 {
			s.hashes[i], s.at[i] = hash, int32(index+1)
			return -1
		}
		if s.hashes[i] == hash {
			return int(s.at[i] - 1)
		}
	}
}

// references reports names of listeners that are not there. The compiler looks at
// the names of upstreams, which targets hold.
func (l *loader) references() {
	names := make([]string, len(l.doc.Listeners))
	for i, item := range l.doc.Listeners {
		names[i] = item.Value.Name.Value
	}
	for _, i := range l.listening {
		item := l.doc.Routes[i]
		for _, name := range item.Value.Match.Listener {
			if !slices.Contains(names, name.Value) {
				l.problem(item.Problem(name.Mark, "there is no listener \""+name.Value+"\""+Meant(name.Value, names, "listeners")))
			}
		}
	}
}

// paceEvery is after how many entries Pace is called.
const paceEvery = 64

// pace lets others run now and then.
func (l *loader) pace() {
	if l.entries++; l.entries%paceEvery == 0 && l.cache.Pace != nil {
		l.cache.Pace()
	}
}

// include loads the files that a pattern stands for.
func (l *loader) include(pattern Text, f *file) {
	if pattern.Mark.Line == 0 {
		return // it is no text, which was said
	}
	at := place{src: f.src}
	from := func(message string) *Problem {
		return at.problem(int(pattern.Mark.Line), int(pattern.Mark.Column), message)
	}
	path := pattern.Value
	if path == "" {
		l.problem(from("this names no file"))
		return
	}
	if strings.Contains(path, "**") {
		l.problem(from(`a pattern cannot have "**": name the folders`))
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.src.name), path)
	}
	if !isPattern(path) {
		l.file(path, f.stack, from)
		return
	}
	l.doc.watched[path] = stampOf(path)
	matches, err := filepath.Glob(path)
	if err != nil {
		l.problem(from("this is not a pattern of file names"))
		return
	}
	for _, match := range matches {
		l.file(match, f.stack, from)
	}
}
