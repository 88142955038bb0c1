/** Owns what is known of programs by their names alone. */

import type { Risk } from "./policy.ts";

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** They read and print, whatever their arguments; a path of secrets among these is judged apart. */
export const READERS = words(`
  cat head tail wc ls dir vdir pwd echo true false : basename dirname realpath readlink stat du df free uptime uname whoami id groups nproc arch tty locale
  cut tr comm paste fold nl tac rev column expand unexpand od hexdump strings cmp diff diff3 sdiff sha1sum sha224sum sha256sum sha384sum sha512sum md5sum b2sum cksum sum shasum
  seq sleep which whereis printenv ps pgrep pstree lsof lscpu lsblk lsusb lspci grep egrep fgrep zgrep zcat bzcat xzcat zstdcat jq locate numfmt factor getconf getent
  cd pushd popd dirs wait jobs times exit return break continue shift yes test [ [[ (( tsort look cal vmstat iostat join ptx pathchk logname users who w last expr read getopts type`);

/** They write to the paths in their arguments and nowhere else. */
export const WRITERS = words(`mkdir touch cp mv ln tee install patch split csplit mktemp mkfifo gzip gunzip bzip2 bunzip2 xz unxz zstd unzstd compress uncompress zip unzip 7z dos2unix unix2dos iconv`);

/** They check or build the project: commands that are safe, or as safe as the project itself. */
export const BUILDERS = words(`
  make gmake cmake ninja meson bazel tsc eslint oxlint biome prettier vitest jest mocha ava playwright cypress pytest tox nox mypy ruff black flake8 pylint isort pyright rustc rustfmt clippy
  gcc g++ cc c++ clang clang++ clang-format clang-tidy javac gradle gradlew mvn mvnw sbt ant rspec rubocop phpunit ctest shellcheck shfmt golangci-lint gofmt goimports ktlint swiftlint swiftformat esbuild vite webpack rollup tsup turbo nx lerna knip drizzle-kit`);

/** Name → words of its arguments that are low, medium or critical; everything else of that program is high. */
export interface Subcommands {
  low?: ReadonlySet<string>;
  medium?: ReadonlySet<string>;
  critical?: ReadonlySet<string>;
  reason: string;
}
const PACKAGES = "installs or changes packages, or runs what was installed";
const node: Subcommands = {
  low: words("ls list ll la outdated view info show why explain root bin prefix ping whoami help"),
  medium: words("test t tst run run-script start build lint check typecheck"),
  critical: words("publish unpublish deprecate owner access token adduser login logout"),
  reason: PACKAGES,
};
export const SUBCOMMANDS: Readonly<Record<string, Subcommands>> = {
  npm: node, pnpm: node, yarn: node, bun: node,
  deno: { low: words("info types"), medium: words("test check lint fmt"), reason: "runs or fetches code" },
  cargo: { low: words("tree metadata version search"), medium: words("build b check c test t clippy fmt doc bench"), critical: words("publish yank login owner"), reason: PACKAGES },
  go: { low: words("version env list doc"), medium: words("build test vet fmt"), reason: PACKAGES },
  dotnet: { medium: words("build test format"), reason: PACKAGES },
  swift: { medium: words("build test"), reason: PACKAGES },
  composer: { low: words("show licenses"), reason: PACKAGES },
  bundle: { low: words("list show info check"), reason: PACKAGES },
  pip: { low: words("list show freeze check"), reason: PACKAGES },
  pip3: { low: words("list show freeze check"), reason: PACKAGES },
  brew: { low: words("list info search"), reason: PACKAGES },
  gh: { reason: "speaks to GitHub in your name" },
};

/** Why a program is as risky as it is, whatever its arguments. */
export const BY_NAME: Readonly<Record<string, { risk: Risk; reason: string }>> = Object.fromEntries([
  ...each("critical", "deletes", "rm unlink shred srm wipe truncate rmdir"),
  ...each("critical", "writes to devices or file systems", "dd mkfs fdisk sfdisk gdisk parted wipefs mount umount losetup cryptsetup swapon swapoff mkswap fsck tune2fs blkdiscard hdparm lvm pvcreate vgcreate lvcreate zfs zpool btrfs"),
  ...each("critical", "ends processes", "kill pkill killall skill xkill fuser"),
  ...each("critical", "changes the system", `systemctl service init telinit reboot shutdown halt poweroff launchctl loginctl journalctl useradd userdel usermod groupadd groupdel adduser deluser passwd chpasswd visudo chown chgrp chattr setfacl setcap
    iptables ip6tables nft ufw firewall-cmd ifconfig route ip sysctl modprobe insmod rmmod update-alternatives ldconfig dmesg timedatectl hostnamectl hostname localectl crontab at batch chsh chfn newgrp security dscl defaults csrutil nvram`),
  ...each("critical", "acts with another user's rights", "sudo doas su run0 pkexec runuser sg chroot unshare nsenter systemd-run"),
  ...each("critical", "controls containers or clouds", "docker podman nerdctl buildah skopeo kubectl helm oc minikube kind k3s terraform tofu pulumi ansible ansible-playbook vagrant virsh aws gcloud az doctl flyctl fly heroku vercel netlify wrangler mctl marionette-agent"),
  ...each("critical", "changes what later commands mean", "alias unalias hash enable bind complete compgen shopt source . disown suspend fc history"),
  ...each("high", "uses the network", "curl wget nc ncat netcat socat telnet ftp sftp scp rsync ssh mosh ping ping6 dig nslookup host traceroute mtr nmap http https httpie xh aria2c axel lynx w3m links openssl whois tcpdump ngrok cloudflared rclone s3cmd sshfs ssh-copy-id ssh-keyscan proxychains proxychains4 torsocks"),
  ...each("high", PACKAGES, "npx pnpx bunx uvx pipx uv poetry pipenv pdm rye conda mamba apt apt-get aptitude dpkg yum dnf rpm apk pacman zypper snap flatpak gem nuget cpan cpanm luarocks opam stack cabal rustup nvm fnm volta asdf mise corepack easy_install nix nix-env nix-shell port pkg emerge mix rebar3 hex"),
  ...each("high", "runs a program that can do anything", "node nodejs python python2 python3 ruby perl php lua luajit tclsh Rscript julia java scala groovy elixir erl iex ghci ocaml osascript powershell pwsh expect sqlite3 psql mysql mariadb mongo mongosh redis-cli gdb lldb strace ltrace perf bpftrace ts-node tsx just task rake invoke fab tmux screen script flock watch parallel"),
  ...each("high", "opens a program that waits for a person", "vi vim nvim view ex ed emacs nano pico less more man info top htop mc xdg-open open code"),
  ...each("high", "may show or use secrets", "gpg gpg2 pass op vault ssh-keygen ssh-add ssh-agent secret-tool security keychain age sops"),
  ...each("medium", "runs a command in its own way", "time gtime timeout gtimeout nohup setsid nice ionice chrt taskset stdbuf unbuffer chronic rlwrap caffeinate"),
]);

function each(risk: Risk, reason: string, names: string): [string, { risk: Risk; reason: string }][] {
  return [...words(names)].map((name) => [name, { risk, reason }]);
}

/** Programs that carry code in an option, and the options. */
export const INLINE_CODE: Readonly<Record<string, RegExp>> = {
  python: /^-[A-Za-z]*c/, python2: /^-[A-Za-z]*c/, python3: /^-[A-Za-z]*c/,
  node: /^(-[pe]+|--eval|--print|-r|--require|--import|--loader|--experimental-loader)/, nodejs: /^(-[pe]+|--eval|--print|-r|--require|--import)/, bun: /^(-[pe]|--eval|--print|-r|--preload)/, deno: /^eval$/, tsx: /^(-e|--eval)/,
  perl: /^-[A-Za-z0-9]*[eE]/, ruby: /^-[A-Za-z]*e/, php: /^-(r|B|R|E)/, lua: /^-e/, luajit: /^-e/, Rscript: /^-e/, julia: /^(-e|-E|--eval)/, osascript: /^-e/, groovy: /^-e/, elixir: /^(-e|--eval)/, powershell: /^-(c|command|e|enc)/i, pwsh: /^-(c|command|e|enc)/i,
  vi: /^(\+|-c|-S|--cmd|-s$|-u)/, vim: /^(\+|-c|-S|--cmd|-s$|-u)/, nvim: /^(\+|-c|-S|--cmd|-l|-s$|-u)/, view: /^(\+|-c|-S|--cmd)/, ex: /^(\+|-c|-S|--cmd|-s)/, emacs: /^--?(batch|eval|execute|l|load|f|funcall|script)/,
  less: /^\+/, more: /^\+/, man: /^(-P|-H|--pager|--html)/, gdb: /^-(ex|iex|x|batch)/, sqlite3: /^-(cmd|init)/, psql: /^(-c|--command|-f)/, mysql: /^(-e|--execute)/,
  make: /^(--eval|-E)/, gmake: /^(--eval|-E)/, tclsh: /^-$/, expect: /^-c/, erl: /^-(eval|run|s)$/, openssl: /^-(engine|provider)/,
};

/** Programs that run what they read on their input where they are given no file. */
export const RUNS_INPUT = words("python python2 python3 node nodejs bun deno perl ruby php lua luajit Rscript julia tclsh expect osascript groovy elixir powershell pwsh psql mysql mariadb sqlite3 redis-cli mongo mongosh gdb lldb ghci ocaml iex erl at batch ex ed vi vim nvim");

/** Environment variables that decide what other commands run or where they look. */
export const POWERFUL_VARIABLE = /^(PATH|IFS|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|SHELL|HOME|CDPATH|PS[0-4]|PROMPT_COMMAND|LD_\w+|DYLD_\w+|GCONV_PATH|LOCPATH|NODE_OPTIONS|NODE_PATH|PYTHON\w+|PERL5?\w*|RUBY\w+|GEM_\w+|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|GIT_\w+|SSH_\w+|\w*PAGER|\w*EDITOR|VISUAL|BROWSER|LESS\w*|MANOPT|TAR_OPTIONS|GREP_OPTIONS|RIPGREP_CONFIG_PATH|MAKEFLAGS|GNUMAKEFLAGS|MFLAGS|CC|CXX|LD|RUSTC\w*|CARGO_\w+|GO(FLAGS|PROXY|ENV|ROOT|PATH)|npm_\w+|NPM_\w+|YARN_\w+|PIP_\w+|UV_\w+|\w*_PROXY|\w*_proxy|SUDO_\w+|DOCKER_\w+|KUBE\w+|EXINIT|VIMINIT|MYVIMRC|INPUTRC|HISTFILE|TERMINFO|TMPDIR|XDG_\w+|OPENSSL_CONF|ANTHROPIC_\w+|OPENAI_\w+|AWS_\w+|MARIONETTE_\w+|COMSPEC|FPATH|ZDOTDIR|HOSTALIASES|RES_OPTIONS|MALLOC_\w+)$/;
export const HARMLESS_VARIABLE = /^(LANG|LANGUAGE|LC_\w+|TZ|COLUMNS|LINES|TERM|NO_COLOR|FORCE_COLOR|CLICOLOR\w*|COLORTERM|CI|DEBUG|NODE_ENV|RUST_BACKTRACE|RUST_LOG|PYTHONUNBUFFERED|PYTHONDONTWRITEBYTECODE)$/;
/** By custom a variable of the line itself, which no other program reads. */
export const LOCAL_VARIABLE = /^[a-z][a-z0-9_]*$/;
/** Words in code on the command line that delete, start programs or speak to the network. */
export const DANGEROUS_CODE = /rmtree|unlink|remove|rmdir|rmSync|\brm\b|\bdel\b|system|subprocess|popen|spawn|exec|child_process|fork|kill|socket|requests|urllib|fetch|http|chmod|chown|truncate|eval|import\(|__import__|base64|writeFile|open\(|File\.|qx|`|!|os\.|shutil/i;
