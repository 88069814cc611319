//! Recommendations of items without events, predicted from their content: category, brand, title,
//! price and further attributes.
//!
//! Gantner, Drumond, Freudenthaler, Rendle and Schmidt-Thieme, "Learning Attribute-to-Feature
//! Mappings for Cold-Start Recommendations" (ICDM 2010), once for each shape of model:
//! - vectors: a ridge regression from features to the vectors of the items with events,
//!   (FᵀWF + λI) B = FᵀWV, solved by conjugate gradients (their section 4.2 solves it in closed
//!   form); the vector of a cold item is its row of F B;
//! - item-to-item weights: the mean of the rows and columns of the items most similar in content
//!   (their section 4.1), and these items themselves; how much either counts is fitted on items
//!   whose weights are known.
//!
//! In: the catalogue, a fitted model, and histories of shoppers. Out: the same model with
//! predictions for the cold items, scaled so that these items take no more than their share of the
//! answers.
//!
//! What may be changed here: new kinds of features. What a model learned from events stays the same
//! to the bit.

mod add;
mod cold_items;
mod cosine;
mod features;
mod hyperparameters;
mod ridge;
mod rows;

pub use add::ColdStartSummary;
pub use cold_items::ColdStart;
pub use cosine::ContentCosine;
pub use features::ContentFeatures;
pub use hyperparameters::Content;
