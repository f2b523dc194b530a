package repo

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestNoInitFunctions(t *testing.T) {
	t.Parallel()
	tree := load(t)
	for _, p := range tree.Packages {
		for _, f := range p.Files {
			for _, d := range f.Syntax.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if ok && !f.Test && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: no init() outside tests: what runs at start is called from main", tree.At(f, fn))
				}
			}
		}
	}
}

// A variable at package level is a constant that Go cannot spell. This is a
// heuristic without types: it looks for assignments from functions and for
// types that exist to be changed.
func TestNoMutablePackageVariables(t *testing.T) {
	t.Parallel()
	tree := load(t)
	for _, p := range tree.Packages {
		if Match("test/...", p.Path) {
			continue // What tests share, they share on purpose.
		}
		variables := map[string]bool{}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, v := range packageVariables(f) {
				for _, name := range v.Names {
					variables[name.Name] = true
				}
				if typ := mutableType(v); typ != "" {
					t.Errorf("%s: package variable of type %s: give it to who needs it", tree.At(f, v), typ)
				}
			}
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, d := range f.Syntax.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					for _, n := range assignmentsTo(variables, fn) {
						t.Errorf("%s: %s changes a package variable", tree.At(f, n), fn.Name.Name)
					}
				}
			}
		}
	}
}

func packageVariables(f *File) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, d := range f.Syntax.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, s := range g.Specs {
				specs = append(specs, s.(*ast.ValueSpec))
			}
		}
	}
	return specs
}

// mutableType names the type of a variable that is made to be changed. A
// sync.Pool is let through: nothing that a result depends on lives in it.
func mutableType(v *ast.ValueSpec) string {
	typ := v.Type
	if typ == nil && len(v.Values) == 1 {
		value := v.Values[0]
		if u, ok := value.(*ast.UnaryExpr); ok {
			value = u.X
		}
		if c, ok := value.(*ast.CompositeLit); ok {
			typ = c.Type
		}
	}
	if x, ok := typ.(*ast.IndexExpr); ok {
		typ = x.X
	}
	sel, ok := typ.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	name := pkg.Name + "." + sel.Sel.Name
	switch {
	case pkg.Name == "atomic", name == "sync.Mutex", name == "sync.RWMutex", name == "sync.Map", name == "sync.Once", name == "sync.WaitGroup":
		return name
	}
	return ""
}

// assignmentsTo finds what a function does to package variables: assignments,
// increments, delete and clear.
func assignmentsTo(variables map[string]bool, fn *ast.FuncDecl) []ast.Node {
	local := declaredIn(fn)
	touches := func(e ast.Expr) bool {
		name := rootOf(e)
		return name != "" && name != "_" && variables[name] && !local[name]
	}
	var found []ast.Node
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE && slices.ContainsFunc(n.Lhs, touches) {
				found = append(found, n)
			}
		case *ast.IncDecStmt:
			if touches(n.X) {
				found = append(found, n)
			}
		case *ast.CallExpr:
			name, ok := n.Fun.(*ast.Ident)
			if ok && (name.Name == "delete" || name.Name == "clear") && len(n.Args) > 0 && touches(n.Args[0]) {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

// declaredIn is every name that a function declares anywhere: a coarse answer to
// the question what shadows a package variable.
func declaredIn(fn *ast.FuncDecl) map[string]bool {
	local := map[string]bool{}
	add := func(fields *ast.FieldList) {
		if fields == nil {
			return
		}
		for _, f := range fields.List {
			for _, name := range f.Names {
				local[name.Name] = true
			}
		}
	}
	add(fn.Recv)
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncType:
			add(n.Params)
			add(n.Results)
		case *ast.ValueSpec:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					local[rootOf(e)] = true
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				local[rootOf(n.Key)] = true
				local[rootOf(n.Value)] = true
			}
		}
		return true
	})
	return local
}

// rootOf is the name at the left end of a.b[c].d, or "".
func rootOf(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return ""
		}
	}
}

func TestNoUntypedStateOnTheRequestPath(t *testing.T) {
	t.Parallel()
	tree := load(t)
	tree.Walk(func(p *Package, f *File, n ast.Node) {
		if f.Test {
			return
		}
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && x.Name == "context" && n.Sel.Name == "WithValue" && MatchAny(NoContextValues, p.Path) {
				t.Errorf("%s: context.WithValue: use Facts or a policy.Local", tree.At(f, n))
			}
		case *ast.MapType:
			key, ok := n.Key.(*ast.Ident)
			if ok && key.Name == "string" && isAny(n.Value) && MatchAny(RequestPath, p.Path) {
				t.Errorf("%s: map[string]any: use a typed struct", tree.At(f, n))
			}
		}
	})
}

func isAny(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "any"
	case *ast.InterfaceType:
		return len(e.Methods.List) == 0
	}
	return false
}

func TestSizes(t *testing.T) {
	t.Parallel()
	tree := load(t)
	for _, p := range tree.Packages {
		lines := 0
		for _, f := range p.Files {
			if !f.Test && !f.Generated {
				lines += f.Lines
			}
			if f.Generated || MatchAny(Tables, f.Path) || MatchAny(Tables, p.Path) {
				continue
			}
			judge(t, FileLines, f.Lines, f.Path)
			for _, d := range f.Syntax.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if ok && fn.Body != nil && !f.Test {
					from, to := tree.Fset.Position(fn.Pos()).Line, tree.Fset.Position(fn.End()).Line
					judge(t, FunctionLines, to-from+1, tree.At(f, fn)+" "+fn.Name.Name)
				}
			}
		}
		judge(t, PackageLines, lines, "package "+p.Path)
	}
}

func judge(t *testing.T, size Size, lines int, what string) {
	t.Helper()
	switch {
	case lines > size.Fail:
		t.Errorf("%s has %d lines; %d is the most: look for the second idea in it", what, lines, size.Fail)
	case lines > size.Report:
		t.Logf("%s has %d lines, more than %d", what, lines, size.Report)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	for _, p := range load(t).Packages {
		if slices.Contains(BadFolders, path.Base(p.Path)) || slices.Contains(BadFolders, p.Name) {
			t.Errorf("%s: a folder is named after its idea, not after what is in it", p.Path)
		}
		if p.Name != "" && !word.MatchString(p.Name) {
			t.Errorf("%s: package %s is not one lower-case word", p.Path, p.Name)
		}
		if p.Name != "" && p.Name != "main" && path.Base(p.Path) != p.Name && p.Path != "." {
			t.Errorf("%s: its package is called %s, not as its folder", p.Path, p.Name)
		}
		for _, f := range p.Files {
			if slices.Contains(BadFiles, path.Base(f.Path)) {
				t.Errorf("%s: a file is named after its main type or idea", f.Path)
			}
		}
	}
}

func TestNothingIsLeftToDo(t *testing.T) {
	t.Parallel()
	tree := load(t)
	todo := regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	reference := regexp.MustCompile(`\b(TODO|FIXME)\(#[0-9]+\)`)
	for _, p := range tree.Packages {
		for _, f := range p.Files {
			for _, group := range f.Syntax.Comments {
				for _, c := range group.List {
					if todo.MatchString(c.Text) && !reference.MatchString(c.Text) {
						t.Errorf("%s: write TODO(#issue), or do it: %s", tree.At(f, c), c.Text)
					}
				}
			}
		}
	}
}

// Tests that may be skipped are tests that do not run.
func TestNoTestIsSkipped(t *testing.T) {
	t.Parallel()
	tree := load(t)
	tree.Walk(func(_ *Package, f *File, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || !f.Test {
			return
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if ok && strings.HasPrefix(sel.Sel.Name, "Skip") && len(call.Args) <= 2 && rootOf(sel.X) == "t" {
			t.Errorf("%s: a test skips itself", tree.At(f, call))
		}
	})
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, p := range load(t).Packages {
		if p.Name == "" {
			continue
		}
		documented := false
		for _, f := range p.Files {
			documented = documented || !f.Test && f.Syntax.Doc != nil
		}
		if !documented {
			t.Errorf("%s: no package comment; its first sentence is the one-line description everywhere", p.Path)
		}
	}
}
