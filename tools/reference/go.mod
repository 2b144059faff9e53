module github.com/weirproxy/weir/tools/reference

go 1.26.0

require github.com/weirproxy/weir v0.0.0

require go.yaml.in/yaml/v3 v3.0.6 // indirect

replace github.com/weirproxy/weir => ../..
