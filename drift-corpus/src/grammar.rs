//! What the five languages look like: statements as people write them, over and over. A tab is one level of
//! indentation; `{noun}`, `{other}`, `{verb}`, `{n}` are filled in.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    Rust,
    Python,
    TypeScript,
    Go,
    C,
}

pub const LANGUAGES: [Language; 5] =
    [Language::Rust, Language::Python, Language::TypeScript, Language::Go, Language::C];

pub struct Grammar {
    pub name: &'static str,
    pub extension: &'static str,
    pub indent: &'static str,
    pub comment: &'static str,
    pub imports: &'static [&'static str],
    pub opens: &'static [&'static str],
    pub closes: &'static str,
    pub wrap: (&'static str, &'static str),
    /// How a function ends; none where the template is empty.
    pub ends: &'static [&'static str],
    pub statements: &'static [&'static [&'static str]],
}

pub const NOUNS: [&str; 20] = [
    "account", "batch", "buffer", "channel", "cursor", "entry", "event", "frame", "handle", "header",
    "index", "limit", "message", "offset", "packet", "query", "record", "session", "token", "worker",
];
pub const VERBS: [&str; 16] = [
    "append", "check", "close", "decode", "drain", "encode", "fetch", "flush", "load", "merge", "open",
    "parse", "read", "remove", "send", "update",
];

impl Language {
    pub fn grammar(self) -> &'static Grammar {
        match self {
            Self::Rust => &RUST,
            Self::Python => &PYTHON,
            Self::TypeScript => &TYPESCRIPT,
            Self::Go => &GO,
            Self::C => &C,
        }
    }
}

const RUST: Grammar = Grammar {
    name: "rust",
    extension: "rs",
    indent: "    ",
    comment: "//",
    imports: &["use std::collections::BTreeMap;", "use std::sync::Arc;", "use crate::error::Error;", ""],
    opens: &[
        "pub fn {verb}_{noun}(&mut self, {noun}: &str) -> Result<(), Error> {",
        "fn {verb}_{noun}({noun}: usize) -> Option<usize> {",
        "pub(crate) fn {verb}_{noun}_{n}(input: &[u8]) -> Result<Vec<u8>, Error> {",
    ],
    closes: "}",
    wrap: ("if self.is_enabled() {", "}"),
    ends: &["Ok(())", "Ok({noun})", "self.{verb}({noun})", ""],
    statements: &[
        &["let {noun} = self.{noun}s.get(&{verb}).ok_or(Error::Missing)?;"],
        &["let mut {noun} = Vec::with_capacity({n});"],
        &["if {noun}.is_empty() {", "\treturn Err(Error::Empty);", "}"],
        &["if {noun}.len() > {n} {", "\treturn Err(Error::TooLarge);", "}"],
        &["for {noun} in &self.{noun}s {", "\tself.{verb}({noun})?;", "}"],
        &[
            "match {noun}.{verb}() {",
            "\tOk(value) => out.push(value),",
            "\tErr(error) => return Err(error.into()),",
            "}",
        ],
        &["tracing::debug!(\"{verb} {noun}: {n} left\");"],
        &["self.{noun} += {n};"],
        &["let {noun}_{verb} = {noun}.iter().map(|{other}| {other}.{verb}()).collect::<Vec<_>>();"],
        &["self.{other}.{verb}({noun}, &{other});"],
        &["// The {noun} may be gone - then it isn't ours to {verb}..."],
        &[""],
    ],
};

const PYTHON: Grammar = Grammar {
    name: "python",
    extension: "py",
    indent: "    ",
    comment: "#",
    imports: &["import json", "import logging", "from dataclasses import dataclass", ""],
    opens: &[
        "def {verb}_{noun}(self, {noun}):",
        "def {verb}_{noun}_{n}({noun}, *, strict=True):",
        "async def {verb}_{noun}(self, {noun}=None):",
    ],
    closes: "",
    wrap: ("if ENABLED:", ""),
    ends: &["return {noun}", "return self.{verb}({noun})", "return None", ""],
    statements: &[
        &["{noun} = self.{noun}s.get(\"{verb}\")"],
        &["if {noun} is None:", "\traise KeyError(\"{noun} isn't there\")"],
        &["if not {noun}:", "\treturn None"],
        &["for {noun} in self.{noun}s:", "\tself.{verb}({noun})"],
        &[
            "try:",
            "\tself.{verb}({noun})",
            "except ValueError:",
            "\tlogging.warning(\"{verb} failed\")",
            "\treturn None",
        ],
        &["with self.{noun}_lock:", "\tself.{noun} += {n}", "\tself.{verb}()"],
        &["self.{noun}_count = {n}"],
        &["{noun}_{other} = [{noun}.{verb}() for {noun} in self.{other}s]"],
        &["self.{other}.{verb}({noun}, {other}={n})"],
        &["logging.debug(\"{verb} {noun} - %d\", {n})"],
        &["# The {noun} may be gone - then it isn't ours to {verb}..."],
        &[""],
    ],
};

const TYPESCRIPT: Grammar = Grammar {
    name: "typescript",
    extension: "ts",
    indent: "  ",
    comment: "//",
    imports: &["import { readFile } from 'node:fs/promises';", "import type { Config } from './config';", ""],
    opens: &[
        "export async function {verb}{n}({noun}: string): Promise<void> {",
        "function {verb}_{noun}({noun}: number, options: Config): number {",
        "export const {verb}_{noun} = ({noun}: Record<string, unknown>) => {",
    ],
    closes: "}",
    wrap: ("if (options.enabled) {", "}"),
    ends: &["return {noun};", "return this.{verb}({noun}, {n});", ""],
    statements: &[
        &["const {noun} = await this.{verb}('{noun}');"],
        &["let {noun}Count = {n};"],
        &["if (!{noun}) {", "\tthrow new Error('no {noun} to {verb}');", "}"],
        &["if ({noun}.length > {n}) {", "\treturn;", "}"],
        &["for (const {noun} of this.{noun}s) {", "\tawait this.{verb}({noun});", "}"],
        &[
            "try {",
            "\tawait {noun}.{verb}();",
            "} catch (error) {",
            "\tconsole.error(\"{verb} failed\", error);",
            "\tthrow error;",
            "}",
        ],
        &["const result = {", "\t{noun}: {n},", "\tverb: '{verb}',", "};"],
        &["this.{noun}.{verb}({n});"],
        &["const {noun}s = {other}.map(({noun}) => {noun}.{verb}());"],
        &["await {other}.{verb}({noun}, '{other}');"],
        &["// The {noun} may be gone - then it isn't ours to {verb}..."],
        &[""],
    ],
};

const GO: Grammar = Grammar {
    name: "go",
    extension: "go",
    indent: "\t",
    comment: "//",
    imports: &["package store", "", "import (", "\t\"context\"", "\t\"fmt\"", ")", ""],
    opens: &[
        "func (s *Store) {verb}{n}(ctx context.Context, {noun} string) error {",
        "func {verb}_{noun}({noun} int) (int, error) {",
        "func (s *Store) {verb}_{noun}({noun} []byte) ([]byte, error) {",
    ],
    closes: "}",
    wrap: ("if s.enabled {", "}"),
    ends: &["return nil", "return s.{verb}({noun})", "return {noun}, nil"],
    statements: &[
        &["{noun}, err := s.{verb}(ctx)", "if err != nil {", "\treturn nil, err", "}"],
        &["if err := s.{verb}({noun}); err != nil {", "\treturn fmt.Errorf(\"{verb} {noun}: %w\", err)", "}"],
        &["if len({noun}) == 0 {", "\treturn nil, ErrEmpty", "}"],
        &["for _, {noun} := range s.{noun}s {", "\ts.{verb}({noun})", "}"],
        &["s.mu.Lock()", "defer s.mu.Unlock()"],
        &["s.{noun} += {n}"],
        &["{noun}s = append({noun}s, {other}.{verb}({n}))"],
        &["s.{other}.{verb}(ctx, {noun})"],
        &["log.Printf(\"{verb} {noun} - %d\", {n})"],
        &["// The {noun} may be gone - then it isn't ours to {verb}..."],
        &["switch {noun} {", "case {n}:", "\treturn s.{verb}({noun})", "default:", "\treturn nil, nil", "}"],
        &[""],
    ],
};

const C: Grammar = Grammar {
    name: "c",
    extension: "c",
    indent: "    ",
    comment: "//",
    imports: &["#include <stdio.h>", "#include <stdlib.h>", "#include \"store.h\"", ""],
    opens: &[
        "static int {verb}_{noun}(struct {noun} *{noun}, size_t size)\n{",
        "int {verb}_{noun}_{n}(const char *name)\n{",
        "void {verb}_{noun}(struct store *store) {",
    ],
    closes: "}",
    wrap: ("if (store->enabled) {", "}"),
    ends: &["return 0;", "return -1;", "return {verb}(store, {n});"],
    statements: &[
        &["int {noun} = {verb}(store, {n});"],
        &["if ({noun} == NULL)", "\treturn -1;"],
        &["if ({noun} < 0) {", "\tgoto fail;", "}"],
        &["for (size_t i = 0; i < {noun}_count; i++) {", "\t{verb}({noun}s[i]);", "}"],
        &["memset(&{noun}, 0, sizeof({noun}));"],
        &["fprintf(stderr, \"can't {verb} {noun}...\\n\");"],
        &["free({noun});", "{noun} = NULL;"],
        &["store->{noun} += {n};"],
        &["{noun}_{verb}(&store->{other}, {noun}, {n});"],
        &["struct {other} *{other} = {verb}_{noun}(store);"],
        &["switch ({noun}) {", "case {n}:", "\t{verb}(store);", "\tbreak;", "default:", "\tbreak;", "}"],
        &["/* The {noun} may be gone - then it isn't ours to {verb}. */"],
        &[""],
    ],
};
