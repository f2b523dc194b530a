// Package repo holds tests about the repository itself: who may import whom,
// what things are called, how long they may grow, and whether what is generated is
// fresh. The tables in rules.go are the data; architecture and style say why.
package repo

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Module is the path that stands in go.mod.
const Module = "github.com/sluice-gateway/sluice"

// File is one Go file of the repository.
type File struct {
	Path    string // relative to the root, with slashes
	Test    bool   // its name ends in _test.go
	Syntax  *ast.File
	Imports []string
	Lines   int
	// Generated files, and the ones in Tables, may be longer than others.
	Generated bool
}

// Package is one folder of Go files.
type Package struct {
	Path  string // relative to the root, with slashes: "policies/ratelimit"
	Name  string
	Files []*File
}

// Tree is every Go package of the repository.
type Tree struct {
	Root     string
	Fset     *token.FileSet
	Packages []*Package
}

// Root finds the folder with go.mod, upwards from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("repo: no go.mod above the working directory")
		}
		dir = parent
	}
}

// outside says which folders hold nothing that was written here.
func outside(name string) bool {
	return name == "node_modules" || name == "testdata" || name == "vendor" || name == "dist" ||
		strings.HasPrefix(name, ".") && name != "." || strings.HasPrefix(name, "_")
}

// Load parses every Go file below root.
func Load(root string) (*Tree, error) {
	tree := &Tree{Root: root, Fset: token.NewFileSet()}
	byPath := map[string]*Package{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && outside(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := tree.parse(name)
		if err != nil {
			return err
		}
		dir := path.Dir(file.Path)
		p := byPath[dir]
		if p == nil {
			p = &Package{Path: dir}
			byPath[dir] = p
			tree.Packages = append(tree.Packages, p)
		}
		if !file.Test {
			p.Name = file.Syntax.Name.Name
		}
		p.Files = append(p.Files, file)
		return nil
	})
	sort.Slice(tree.Packages, func(i, j int) bool { return tree.Packages[i].Path < tree.Packages[j].Path })
	return tree, err
}

func (t *Tree) parse(name string) (*File, error) {
	syntax, err := parser.ParseFile(t.Fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("repo: %w", err)
	}
	rel, err := filepath.Rel(t.Root, name)
	if err != nil {
		return nil, err
	}
	f := &File{
		Path:      filepath.ToSlash(rel),
		Test:      strings.HasSuffix(name, "_test.go"),
		Syntax:    syntax,
		Lines:     t.Fset.File(syntax.Pos()).LineCount(),
		Generated: ast.IsGenerated(syntax),
	}
	for _, spec := range syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		f.Imports = append(f.Imports, p)
	}
	return f, nil
}

// Walk visits every node of every file.
func (t *Tree) Walk(visit func(p *Package, f *File, n ast.Node)) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				if n != nil {
					visit(p, f, n)
				}
				return true
			})
		}
	}
}

// At is the place of a node as "file:line".
func (t *Tree) At(f *File, n ast.Node) string {
	return f.Path + ":" + strconv.Itoa(t.Fset.Position(n.Pos()).Line)
}

// Inside turns an import path into a path relative to the root; ok is false for
// what does not belong to this module.
func Inside(importPath string) (rel string, ok bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// ThirdParty says whether an import is neither ours nor the standard library's.
func ThirdParty(importPath string) bool {
	if _, ours := Inside(importPath); ours {
		return false
	}
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".")
}

// Match says whether a path is covered by a pattern: "a/b" is that folder alone,
// "a/*" every folder directly below, "a/..." the folder and everything below.
func Match(pattern, p string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == below || strings.HasPrefix(p, below+"/")
	}
	ok, err := path.Match(pattern, p)
	return err == nil && ok
}

// MatchAny says whether one of the patterns covers a path.
func MatchAny(patterns []string, p string) bool {
	for _, pattern := range patterns {
		if Match(pattern, p) {
			return true
		}
	}
	return false
}
