package cli

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/control/plane"
	"github.com/weirproxy/weir/internal/control/source/file"
)

func (app App) check() *cobra.Command {
	var (
		format    string
		effective bool
	)
	cmd := &cobra.Command{
		Use:   "check FILE_OR_DIR...",
		Short: "Name every problem of documents",
		Long: `Name every problem of documents, one per line:

  file:line:col: what is wrong; what to do

Exit code 1 when there is an error; warnings alone leave it at 0. check reads
the documents and the files that they name. It opens no socket, resolves no
name and runs nothing, so that it is safe on a document from a stranger.`,
		Example: `  weir check weir.yaml
  weir check /etc/weir --format json
  weir check weir.yaml --effective     # the document with every default`,
		Args: documentArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			return app.checkFiles(args, format, effective)
		},
	}
	formatFlag(cmd, &format)
	cmd.Flags().BoolVar(&effective, "effective", false, "print the document with every default filled in")
	return cmd
}

func (app App) checkFiles(paths []string, format string, effective bool) error {
	p := plane.New(plane.Config{Paths: paths, Filters: app.Filters, Env: os.LookupEnv, Log: slog.New(slog.DiscardHandler)})
	snap, problems := p.Load()
	var document *config.Document
	if effective && snap != nil {
		var err error
		if document, err = effectiveDocument(paths); err != nil {
			return err
		}
	}
	var err error
	switch {
	case format == "json":
		err = app.printCheck(problems, document)
	case document != nil:
		printProblems(app.Stderr, problems)
		var text []byte
		if text, err = config.Effective(document); err == nil {
			_, err = app.Stdout.Write(text)
		}
	default:
		printProblems(app.Stdout, problems)
		if snap != nil {
			_, err = fmt.Fprintf(app.Stdout, "ok: %s, %s, %s, %s\n", count(len(snap.Listeners), "listener"), count(len(snap.Routes), "route"),
				count(len(snap.Clusters), "cluster"), count(len(problems), "warning"))
		}
	}
	if err == nil && problems.Errors() > 0 {
		return errReported
	}
	return err
}

// printCheck prints the problems, and the document if it was asked for, as JSON.
func (app App) printCheck(problems config.Problems, document *config.Document) error {
	report := struct {
		Errors   int             `json:"errors"`
		Problems config.Problems `json:"problems"`
		Document json.RawMessage `json:"document,omitempty"`
	}{problems.Errors(), append(config.Problems{}, problems...), nil}
	if document != nil {
		var err error
		if report.Document, err = config.CanonicalJSON(document); err != nil {
			return err
		}
	}
	return writeJSON(app.Stdout, report)
}

// effectiveDocument is the documents as one.
func effectiveDocument(paths []string) (*config.Document, error) {
	set, err := file.Read(paths)
	if err != nil {
		return nil, err
	}
	var docs []*config.Document
	for _, d := range set.Documents {
		if doc, _ := config.Parse(d.Name, d.Content); doc != nil {
			docs = append(docs, doc)
		}
	}
	merged, _ := config.Merge(docs...)
	return merged, nil
}
