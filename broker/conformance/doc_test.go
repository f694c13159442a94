package conformance_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The table in doc.go names tests that there are.
func TestDocNamesTests(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	tests := map[string]map[string]bool{}
	named := regexp.MustCompile(`(?:([a-z]+)\.)?(Test[A-Z]\w+)`).FindAllStringSubmatch(string(doc), -1)
	require.Greater(t, len(named), 100)
	for _, name := range named {
		dir := "."
		if name[1] != "" {
			dir = filepath.Join("..", name[1])
		}
		if tests[dir] == nil {
			tests[dir] = testsIn(t, dir)
		}
		require.True(t, tests[dir][name[2]], "%s is named in doc.go, and no test in %s", name[0], dir)
	}
}

func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				found[f.Name.Name] = true
			}
		}
	}
	return found
}
