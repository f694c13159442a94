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

// The tables in doc.go, and in broker/kafka's, name tests that there are.
func TestDocNamesTests(t *testing.T) {
	for pkg, atLeast := range map[string]int{"conformance": 100, "kafka": 30} {
		t.Run(pkg, func(t *testing.T) {
			doc, err := os.ReadFile(filepath.Join("..", pkg, "doc.go"))
			require.NoError(t, err)
			tests := map[string]map[string]bool{}
			named := regexp.MustCompile(`(?:([a-z]+)\.)?(Test[A-Z]\w+)`).FindAllStringSubmatch(string(doc), -1)
			require.Greater(t, len(named), atLeast)
			for _, name := range named {
				dir := filepath.Join("..", pkg)
				if name[1] != "" {
					dir = filepath.Join("..", name[1])
				}
				if tests[dir] == nil {
					tests[dir] = testsIn(t, dir)
				}
				require.True(t, tests[dir][name[2]], "%s is named in doc.go, and no test in %s", name[0], dir)
			}
		})
	}
}

// The capabilities that broker/kafka's table names are what real clients are put through.
func TestDocNamesCapabilities(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "kafka", "doc.go"))
	require.NoError(t, err)
	list, err := os.ReadFile(filepath.Join("..", "interop", "capabilities.txt"))
	require.NoError(t, err)
	named := regexp.MustCompile("capability `([^`]*)`").FindAllStringSubmatch(string(doc), -1)
	require.GreaterOrEqual(t, len(named), 4)
	for _, name := range named {
		require.Contains(t, string(list), "\n"+name[1]+"\t", "%s is named in doc.go, and no capability", name[0])
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
