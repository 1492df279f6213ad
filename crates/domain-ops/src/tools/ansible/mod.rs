//! The Ansible tools.

mod run_playbook;

pub use run_playbook::RunPlaybook;

use crate::Ansible;
use astradesk_core::Result;
use astradesk_runtime::port::Tool;
use std::sync::Arc;

/// The tools on the playbooks of one folder.
///
/// # Errors
/// The tool cannot be defined; what is wrong with the folder is told by each call.
pub fn tools(ansible: Ansible) -> Result<Vec<Arc<dyn Tool>>> {
    Ok(vec![Arc::new(RunPlaybook::new(ansible)?)])
}
