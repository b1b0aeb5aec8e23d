//! What a file of `src` uses and defines, read by a parser of Rust. Tests within the files count for directions and
//! lengths of files, not for names of types and lengths of functions.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Block, ImplItemFn, ItemFn, ItemMod, Signature, TraitItemFn, UseTree,
    visit::{self, Visit},
};

/// One file.
pub(super) struct Source {
    /// Its path below `src`.
    pub(super) name: String,
    /// The first folder of that path, or the file's own name.
    pub(super) room: String,
    pub(super) lines: usize,
    /// What it uses of this crate, by `crate::` or enough `super::`.
    pub(super) paths: Vec<Used>,
    /// Types that it defines, and the line.
    pub(super) types: Vec<(String, usize)>,
    /// Functions and their lines.
    pub(super) functions: Vec<(String, usize)>,
}

/// A path into the crate.
pub(super) struct Used {
    /// Its first segment.
    pub(super) room: String,
    pub(super) line: usize,
}

/// Every Rust file below a folder, in order.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every file below `src`, read.
pub(super) fn all(src: &Path) -> Vec<Source> {
    files(src).iter().map(|path| read(src, path)).collect()
}

fn read(src: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let below = path.strip_prefix(src).unwrap();
    let name = below.to_str().unwrap().to_owned();
    let mut module: Vec<String> =
        below.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    let room = module.first().cloned().unwrap_or_else(|| "crate".into());
    let mut reader = Reader {
        module,
        tests: false,
        source: Source {
            name,
            room,
            lines: text.lines().count(),
            paths: vec![],
            types: vec![],
            functions: vec![],
        },
    };
    reader.visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    reader.source
}

struct Reader {
    /// The module that is being read.
    module: Vec<String>,
    /// Whether it is built for tests alone.
    tests: bool,
    source: Source,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

impl Reader {
    /// A path's segments as far as they are known.
    fn path(&mut self, segments: &[String], line: usize) {
        let up = segments.iter().take_while(|segment| *segment == "super").count();
        let room = match segments.first().map(String::as_str) {
            // `main.rs` calls the crate by its name.
            Some("crate" | "alyx_proxy") => segments.get(1),
            Some("super") if up == self.module.len() => segments.get(up),
            _ => None,
        };
        if let Some(room) = room {
            let is_module = room.chars().next().is_some_and(char::is_lowercase);
            let room = if is_module { room.clone() } else { "crate".into() };
            self.source.paths.push(Used { room, line });
        }
    }

    fn tree(&mut self, before: &[String], tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                let segments: Vec<String> = before.iter().cloned().chain([path.ident.to_string()]).collect();
                match &*path.tree {
                    UseTree::Group(_) | UseTree::Path(_) => self.tree(&segments, &path.tree),
                    UseTree::Name(name) => self.end(&segments, &name.ident),
                    UseTree::Rename(rename) => self.end(&segments, &rename.ident),
                    UseTree::Glob(_) => self.path(&segments, path.ident.span().start().line),
                }
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
            UseTree::Name(name) => self.end(before, &name.ident),
            UseTree::Rename(rename) => self.end(before, &rename.ident),
            UseTree::Glob(_) => {}
        }
    }

    fn end(&mut self, before: &[String], last: &proc_macro2::Ident) {
        let segments: Vec<String> = before.iter().cloned().chain([last.to_string()]).collect();
        self.path(&segments, last.span().start().line);
    }

    /// Paths within a macro's arguments, which nobody has parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => continue,
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {}
            }
            if path.len() == 2 {
                self.path(&path, line);
                path.remove(0);
            }
        }
    }

    fn function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        if !self.tests && !is_for_tests(attributes) {
            let from = signature.fn_token.span.start().line;
            let to = block.brace_token.span.close().end().line;
            self.source.functions.push((signature.ident.to_string(), to - from + 1));
        }
    }

    fn defines(&mut self, attributes: &[Attribute], ident: &proc_macro2::Ident) {
        if !self.tests && !is_for_tests(attributes) {
            self.source.types.push((ident.to_string(), ident.span().start().line));
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        let outside = self.tests;
        self.tests |= is_for_tests(&item.attrs);
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
        self.tests = outside;
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        self.path(&segments, line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'a syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.defines(&item.attrs, &item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        self.defines(&item.attrs, &item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        self.defines(&item.attrs, &item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'a syn::ItemType) {
        self.defines(&item.attrs, &item.ident);
        visit::visit_item_type(self, item);
    }
}
