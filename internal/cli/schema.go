package cli

import (
	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/config"
)

func (app App) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a document",
		Long: `Print the JSON Schema of a document, with the filters of this binary. An editor
that knows it completes and checks while you type.`,
		Example: `  weir schema > weir.schema.json
  # first line of a document, for editors with the YAML language server:
  # yaml-language-server: $schema=weir.schema.json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			settings := map[string]any{}
			for _, name := range app.Filters.Names() {
				definition, _ := app.Filters.Lookup(name)
				settings[name] = definition.Settings
			}
			schema, err := config.Schema(settings, config.EmbeddedComments())
			if err != nil {
				return err
			}
			_, err = app.Stdout.Write(schema)
			return err
		},
	}
}
