namespace Intercommunalite.Contracts.Payments;

/// <summary>A claim was issued (titre de recettes). The subject is the invoice's own key, to which the other payment events refer.</summary>
/// <param name="Service">What is billed: <c>canteen</c>, <c>after-school-care</c>, <c>day-nursery</c>, <c>music-school</c>, …</param>
/// <param name="Amount">Total, tax included.</param>
/// <param name="IssuedOn">Date of issue.</param>
/// <param name="DueOn">Date by which it must be paid.</param>
public sealed record InvoiceIssued(Slug Service, Cents Amount, DateOnly IssuedOn, DateOnly? DueOn = null) : DomainEvent<DebtorPersonal>;

/// <summary>An invoice was reduced. The subject is the invoice's.</summary>
/// <param name="Amount">By how much.</param>
/// <param name="ReducedOn">Date of the reduction.</param>
public sealed record InvoiceReduced(Cents Amount, DateOnly ReducedOn) : DomainEvent<DebtorPersonal>;

/// <summary>An invoice was cancelled whole. The subject is the invoice's.</summary>
/// <param name="CancelledOn">Date of the cancellation.</param>
public sealed record InvoiceCancelled(DateOnly CancelledOn) : DomainEvent<DebtorPersonal>;

/// <summary>Who owes.</summary>
/// <param name="Debtor">The debtor.</param>
public sealed record DebtorPersonal(Person Debtor) : PersonalData;

/// <summary>
/// The online payment page (PayFiP) answered. That a payment was accepted is not yet money collected: the collection comes
/// back from the Trésor as <see cref="PaymentCollected"/>. The subject is the payment's reference.
/// </summary>
/// <param name="Invoice">Subject of the invoice that was to be paid.</param>
/// <param name="Amount">Amount of the attempt.</param>
/// <param name="AnsweredAt">When.</param>
/// <param name="Outcome">What came of it.</param>
public sealed record OnlinePaymentAnswered(string Invoice, Cents Amount, DateTimeOffset AnsweredAt, OnlinePaymentOutcome Outcome) : DomainEvent<PayerPersonal>;

/// <summary>What came of an online payment.</summary>
public enum OnlinePaymentOutcome
{
    /// <summary>Paid by card.</summary>
    CardPaid,

    /// <summary>Paid by direct debit.</summary>
    DirectDebitPaid,

    /// <summary>The payer gave up.</summary>
    Abandoned,

    /// <summary>Refused.</summary>
    Refused,
}

/// <summary>Who paid online.</summary>
/// <param name="Email">Address that the payer gave.</param>
public sealed record PayerPersonal(string Email) : PersonalData;

/// <summary>Money came in (encaissement). The subject is the collection's own key.</summary>
/// <param name="Amount">Amount collected; may be a part of the invoice, and more than is owed when paid twice.</param>
/// <param name="CollectedOn">Date of the collection.</param>
/// <param name="Invoice">Subject of the invoice that it pays; absent for money taken without one (régie).</param>
/// <param name="Service">What it pays for, where there is no invoice.</param>
public sealed record PaymentCollected(Cents Amount, DateOnly CollectedOn, string? Invoice = null, Slug? Service = null) : DomainEvent<DebtorPersonal>;

/// <summary>Money went back. The subject is the refund's own key.</summary>
/// <param name="Amount">Amount refunded.</param>
/// <param name="RefundedOn">Date of the refund.</param>
/// <param name="Invoice">Subject of the invoice whose payment is given back; absent for money taken without one.</param>
/// <param name="Service">What it was for, where there is no invoice.</param>
public sealed record PaymentRefunded(Cents Amount, DateOnly RefundedOn, string? Invoice = null, Slug? Service = null) : DomainEvent<DebtorPersonal>;
