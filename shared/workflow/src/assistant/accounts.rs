use std::{sync::Arc, time::Duration};

use crate::{
    domain::{Failure, Kind, configuration::BudgetSettings},
    ports::{Account, Asking, Budgets, Clock, Reserved},
};

// How often, and for how long each time, a call waits for those under way to give back what they did not cost: five
// seconds, within which most calls end.
const PATIENCE: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// What may be spent by whom.
pub struct Accounts {
    /// Where it is kept.
    pub budgets: Arc<dyn Budgets>,
    /// How much.
    pub settings: BudgetSettings,
    /// Tells the day.
    pub clock: Arc<dyn Clock>,
}

/// What was taken for a call.
#[derive(Debug, Default)]
pub(super) struct Hold {
    accounts: Vec<Account>,
    amount: u64,
}

impl Accounts {
    /// Takes what a call can cost at the most from every account that has a limit, the narrowest first.
    ///
    /// # Errors
    /// This returns an error of kind `OverBudget` that says until when, when too little is left; one of kind `Throttled`
    /// when calls under way hold what is left; and the store's own.
    pub(super) async fn reserve(&self, amount: u64) -> Result<Hold, Failure> {
        let mut hold = Hold { accounts: Vec::new(), amount };
        if amount == 0 {
            return Ok(hold);
        }
        for (account, limit) in self.limited() {
            match self.take(&account, amount, limit).await {
                Ok(()) => hold.accounts.push(account),
                Err(failure) => {
                    self.settle(hold, 0).await;
                    return Err(failure);
                }
            }
        }
        Ok(hold)
    }

    /// Gives back what a call did not cost.
    pub(super) async fn settle(&self, hold: Hold, spent: u64) {
        for account in &hold.accounts {
            // What cannot be given back stays taken: too little is spent then, and never too much.
            if let Err(failure) = self.budgets.settle(account, hold.amount, spent).await {
                tracing::warn!(error.kind = %failure.kind, error.message = failure.message, "a budget was not settled");
            }
        }
    }

    fn limited(&self) -> Vec<(Account, u64)> {
        let Some(asking) = Asking::present() else { return Vec::new() };
        let day = Account::day_of(self.clock.now());
        let BudgetSettings { per_run, per_caller_and_day, per_workflow_and_day } = self.settings;
        let accounts = [
            (Account::Run(asking.run), per_run),
            (Account::CallerDay { caller: asking.caller, day }, per_caller_and_day),
            (Account::WorkflowDay { workflow: asking.workflow, day }, per_workflow_and_day),
        ];
        accounts.into_iter().filter_map(|(account, limit)| Some((account, limit?))).collect()
    }

    async fn take(&self, account: &Account, amount: u64, limit: u64) -> Result<(), Failure> {
        for _ in 0..PATIENCE {
            match self.budgets.reserve(account, amount, limit).await? {
                Reserved::Granted => return Ok(()),
                Reserved::Spent => return Err(self.spent(account)),
                Reserved::Occupied => self.clock.sleep(PAUSE).await,
            }
        }
        let failure = Failure::new(Kind::Throttled, "calls under way hold what is left of a budget");
        Err(failure.retry_after(PAUSE * PATIENCE as u32))
    }

    fn spent(&self, account: &Account) -> Failure {
        let whose = match account {
            Account::Run(_) => "the run's budget",
            Account::CallerDay { .. } => "the caller's budget for the day",
            Account::WorkflowDay { .. } => "the workflow's budget for the day",
        };
        match account.resets_at() {
            None => Failure::new(Kind::OverBudget, format!("{whose} does not suffice for another call")),
            Some(reset) => {
                let wait = Duration::try_from(reset.duration_since(self.clock.now())).unwrap_or_default();
                let message = format!("{whose} does not suffice for another call; it is full again at {reset}");
                Failure::new(Kind::OverBudget, message).retry_after(wait)
            }
        }
    }
}
