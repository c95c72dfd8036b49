namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>Counts the tries of one request and waits between them, twice as long each time or as long as the server asks.</summary>
internal sealed class Retries(TimeSpan firstDelay)
{
    public const int Tries = 5;

    /// <summary>A server that asks for more gets no wait but an error.</summary>
    public static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(2);

    private int failures;

    /// <summary>Runs <paramref name="work"/> until it succeeds or its tries are used up.</summary>
    public static async Task<T> RunAsync<T>(TimeSpan firstDelay, Func<Task<T>> work, CancellationToken cancellation)
    {
        var retries = new Retries(firstDelay);
        while (true)
        {
            try
            {
                return await work();
            }
            catch (TransientException e)
            {
                await retries.WaitAsync(e, cancellation);
            }
        }
    }

    /// <summary>Something was gained: the count begins anew.</summary>
    public void Reset() => failures = 0;

    /// <summary>Waits before the next try.</summary>
    /// <exception cref="StableDiffusionException">There is none left, or the server asks to wait too long.</exception>
    public async Task WaitAsync(TransientException failure, CancellationToken cancellation)
    {
        failures++;
        if (failures == Tries)
        {
            throw new StableDiffusionException($"{failure.Message} ({Tries} tries)", failure);
        }

        var wait = failure.RetryAfter ?? firstDelay * Math.Pow(2, failures - 1);
        if (wait > LongestWait)
        {
            throw new StableDiffusionException(
                $"{failure.Message}, and the server asks to wait {wait.TotalSeconds:0} s: try again later", failure);
        }

        await Task.Delay(wait, cancellation);
    }
}
