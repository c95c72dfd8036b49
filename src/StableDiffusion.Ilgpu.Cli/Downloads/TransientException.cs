namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>A request failed in a way that another try may mend.</summary>
/// <param name="message">One line for the user, should no try succeed.</param>
/// <param name="retryAfter">How long the server asks to wait.</param>
internal sealed class TransientException(string message, Exception? inner = null, TimeSpan? retryAfter = null) : Exception(message, inner)
{
    public TimeSpan? RetryAfter { get; } = retryAfter;
}
