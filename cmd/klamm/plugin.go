package main

import "github.com/spf13/cobra"

func (a *app) pluginCommand() *cobra.Command { return &cobra.Command{Use: "plugin", RunE: help} }
