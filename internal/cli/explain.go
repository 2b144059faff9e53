package cli

import (
	"github.com/spf13/cobra"
)

func (app App) explain() *cobra.Command {
	return &cobra.Command{Use: "explain", Hidden: true}
}
