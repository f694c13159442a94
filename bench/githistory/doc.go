// Package githistory reads the history of a Git repository as deltas: a real input whose folded state Git itself can
// be asked for.
//
// One commit is a list of changes, one change a path with its new mode and object id, or a deletion. Folded with
// last-value by path, the changes of the first n commits are what `git ls-tree -r` prints for the n-th: an oracle that
// shares no code with this project.
//
//	repo, err := githistory.Open(ctx, ".")
//	for commit, err := range repo.Commits(ctx) {
//		for _, c := range commit.Changes { ... c.Path, c.Value() ... }
//	}
//	tree, err := repo.Tree(ctx, commit.ID)
//
// The history is the first-parent chain of HEAD, oldest first, each commit compared with its first parent, so that it is
// one line and every state on it exists in the repository. It needs the git command.
package githistory
