namespace Intercommunalite.ServiceDefaults;

/// <summary>How long a message that is being sent is waited for.</summary>
public static class Sending
{
    /// <summary>
    /// Waits for what is sent until the limit, and then gives it up. The token that a bus is given is not enough: RabbitMQ's client,
    /// up to 7.2.2, disposes a channel's semaphores when the connection breaks, and whoever waits for one then waits for ever, whatever its token
    /// or time-out says (rabbitmq-dotnet-client, issue 1976). A message that is given up may still arrive; one that was forgotten stays in memory
    /// to the end of the process.
    /// </summary>
    /// <param name="sending">The message being sent.</param>
    /// <param name="limit">Cancelled when it is given up.</param>
    /// <exception cref="OperationCanceledException">It was given up.</exception>
    public static Task OrGivenUpAsync(this Task sending, CancellationToken limit) => sending.WaitAsync(limit);
}
