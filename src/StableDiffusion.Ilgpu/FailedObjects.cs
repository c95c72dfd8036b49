namespace StableDiffusion.Ilgpu;

/// <summary>
/// Buffers and kernels that ILGPU made and the driver did not. When a device is closed, ILGPU frees all that is still there, those too: a driver may refuse to free
/// nothing, and then what comes behind stays. ILGPU holds them weakly, and nobody else holds such ones.
/// </summary>
internal static class FailedObjects
{
    /// <summary>After a failure, when nothing refers to what failed any more.</summary>
    public static void Forget()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }
}
