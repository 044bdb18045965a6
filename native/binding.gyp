{
  # whichpod_asan=1 builds the same sources under AddressSanitizer (test/native/asan.test.ts does).
  "variables": { "whichpod_asan%": 0 },
  "targets": [
    {
      "target_name": "whichpod",
      "conditions": [
        [
          "OS=='linux'",
          {
            "sources": ["face.cc", "legacy-tables.cc", "mailbox.cc", "netlink.cc", "ring.cc"],
            "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
            "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "_GNU_SOURCE"],
            "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden", "-fstack-protector-strong"],
            "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-std=gnu++1y"],
            "cflags_cc": ["-std=c++17"],
            "ldflags": ["-pthread"],
            "conditions": [
              [
                "whichpod_asan==1",
                {
                  "cflags": ["-fsanitize=address", "-fno-omit-frame-pointer", "-g", "-O1"],
                  "ldflags": ["-fsanitize=address"],
                },
              ],
            ],
          },
          # Packet rings and netlink are Linux's: elsewhere there is nothing to build.
          {"type": "none"},
        ]
      ],
    }
  ],
}
