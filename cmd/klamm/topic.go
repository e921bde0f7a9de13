package main

import "github.com/spf13/cobra"

func (a *app) topicCommand() *cobra.Command { return &cobra.Command{Use: "topic", RunE: help} }
