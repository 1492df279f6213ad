//! What EC2 answers.

use super::ec2::{Checks, Instance, Status};
use astradesk_core::redact;
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};

/// The most characters of a text.
const TEXT: usize = 300;

/// AWS's code and message of a refusal.
pub(super) fn refusal(answer: &str) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    within(answer, &["Errors", "Error"], &mut |error| {
        fields(error, &mut |name, field| match name {
            "Code" => code = text(field),
            "Message" => message = text(field),
            _ => {}
        });
    });
    (code, message)
}

/// Whether it is an answer to this request, and no refusal in its place.
pub(super) fn is_answer_to(action: &str, answer: &str) -> bool {
    let mut document = Document::new(answer);
    let Ok(mut root) = document.root_element() else { return false };
    if root.start_el().local() != format!("{action}Response") {
        return false;
    }
    let mut is_one = true;
    walk(&mut root, &["return"], &mut |said| is_one &= text(said) == "true");
    is_one
}

/// The instances of an answer to `DescribeInstances`.
pub(super) fn instances(answer: &str) -> Vec<Instance> {
    let mut found = Vec::new();
    within(answer, &["reservationSet", "item", "instancesSet", "item"], &mut |item| {
        let mut instance = Instance::default();
        fields(item, &mut |name, field| match name {
            "instanceId" => instance.id = text(field),
            "instanceType" => instance.kind = text(field),
            "launchTime" => instance.launched = text(field),
            "instanceState" => walk(field, &["name"], &mut |name| instance.state = text(name)),
            "tagSet" => walk(field, &["item"], &mut |tag| {
                let (mut key, mut value) = (String::new(), String::new());
                fields(tag, &mut |name, field| match name {
                    "key" => key = text(field),
                    "value" => value = text(field),
                    _ => {}
                });
                instance.tags.insert(key, value);
            }),
            _ => {}
        });
        found.push(instance);
    });
    found
}

/// Where an instance stands, by an answer to `DescribeInstanceStatus`.
pub(super) fn status(answer: &str, id: &str) -> Option<Status> {
    let mut found = None;
    within(answer, &["instanceStatusSet", "item"], &mut |item| {
        let (mut of, mut state, mut checks) = (String::new(), String::new(), Checks::default());
        fields(item, &mut |name, field| match name {
            "instanceId" => of = text(field),
            "instanceState" => walk(field, &["name"], &mut |name| state = text(name)),
            "systemStatus" => walk(field, &["status"], &mut |status| checks.system = text(status)),
            "instanceStatus" => walk(field, &["status"], &mut |status| checks.instance = text(status)),
            _ => {}
        });
        if of == id {
            found = Some(Status { state, checks });
        }
    });
    found
}

type Scope<'i, 's> = ScopedDecoder<'i, 's>;

/// Visits what is at the path below the root.
fn within(answer: &str, path: &[&str], visit: &mut dyn FnMut(&mut Scope<'_, '_>)) {
    if let Ok(mut root) = Document::new(answer).root_element() {
        walk(&mut root, path, visit);
    }
}

/// Visits what is at the path below an element.
fn walk(scope: &mut Scope<'_, '_>, path: &[&str], visit: &mut dyn FnMut(&mut Scope<'_, '_>)) {
    let Some((first, rest)) = path.split_first() else { return visit(scope) };
    fields(scope, &mut |name, field| {
        if name == *first {
            walk(field, rest, visit);
        }
    });
}

/// Visits the elements of an element, with their names.
fn fields(scope: &mut Scope<'_, '_>, visit: &mut dyn FnMut(&str, &mut Scope<'_, '_>)) {
    while let Some(mut field) = scope.next_tag() {
        let name = field.start_el().local().to_owned();
        visit(&name, &mut field);
    }
}

fn text(scope: &mut Scope<'_, '_>) -> String {
    redact::line(&try_data(scope).unwrap_or_default(), TEXT)
}
