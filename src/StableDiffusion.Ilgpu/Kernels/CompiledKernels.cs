using System.Collections.Concurrent;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels of a set that have been asked for. Threads that ask for different ones do not wait for each other here; what must not be done by two at
/// a time, <see cref="KernelLoading"/> knows. ILGPU itself keeps only weak references to its kernels. Thread-safe.
/// </summary>
internal sealed class CompiledKernels
{
    private readonly ConcurrentDictionary<string, Lazy<Delegate>> kernels = [];

    /// <param name="name">The kernel's, among the set's.</param>
    /// <param name="compile">Is called for the first who asks, and again after it has thrown.</param>
    public TLauncher Get<TLauncher>(string name, Func<TLauncher> compile) where TLauncher : Delegate
    {
        var kernel = kernels.GetOrAdd(name, _ => new Lazy<Delegate>(compile));
        try
        {
            return (TLauncher)kernel.Value;
        }
        catch
        {
            kernels.TryRemove(KeyValuePair.Create(name, kernel));
            throw;
        }
    }
}
