//! Declares settings once: a field is a value of the library, a key of config files, and a flag of the command line.

/// Declares a struct of optional settings, `None` where the user gave nothing.
///
/// `name: T` becomes the field `pub name: Option<T>` and the key `name` of config files and policies; with the feature
/// `clap` it is also the flag that `#[arg(...)]` describes, below the heading after `in`, and its documentation is the
/// flag's help. `#[no_flag(skip)]` marks a setting without a flag. `T` has to be a
/// [`Setting`](crate::config::setting::Setting). A struct after the colon contributes its settings too.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident in $heading:literal $(: $inner:ident as $inner_type:ident)? {
            $($(#[doc = $doc:expr])* $(#[arg($($arg:tt)*)])? $(#[no_flag($skip:ident)])? $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
        #[cfg_attr(feature = "clap", derive(clap::Args))]
        pub struct $name {
            $(
                #[doc = concat!("See [`", stringify!($inner_type), "`].")]
                #[serde(flatten)]
                #[cfg_attr(feature = "clap", command(flatten))]
                pub $inner: $inner_type,
            )?
            $(
                $(#[doc = $doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                $(#[cfg_attr(feature = "clap", arg(help_heading = $heading, $($arg)*))])?
                $(#[cfg_attr(feature = "clap", arg($skip))])?
                pub $field: Option<$type>,
            )*
        }

        impl $name {
            /// These settings, and where they are silent those of `other`.
            pub fn or(self, other: Self) -> Self {
                Self {
                    $($inner: self.$inner.or(other.$inner),)?
                    $($field: self.$field.or(other.$field),)*
                }
            }

            /// Takes the setting `key` from a config file; `None` where there is no such setting.
            pub(crate) fn set(&mut self, key: &str, value: &serde_json::Value) -> Option<std::result::Result<(), String>> {
                match key {
                    $(stringify!($field) => {
                        Some($crate::config::setting::read(key, value).map(|read| self.$field = read))
                    })*
                    _ => settings!(@inner self key value $($inner)?),
                }
            }

            /// The keys of all settings.
            pub(crate) fn keys() -> Vec<&'static str> {
                let own = [$(stringify!($field)),*].into_iter();
                $(let own = own.chain($inner_type::keys());)?
                own.collect()
            }
        }
    };
    (@inner $self:ident $key:ident $value:ident $inner:ident) => { $self.$inner.set($key, $value) };
    (@inner $self:ident $key:ident $value:ident) => { None };
}

pub(crate) use settings;
