namespace StableDiffusion.Ilgpu;

/// <summary>
/// An error that the user can act on: a missing or damaged file, a wrong shape, an unknown name, a device that is not there.
/// <see cref="Exception.Message"/> is one line that names the value and, where there is a choice, the valid ones.
/// </summary>
public sealed class StableDiffusionException : Exception
{
    /// <summary>Creates the error with its one-line message.</summary>
    public StableDiffusionException(string message) : base(message) { }

    /// <summary>Creates the error with its one-line message and what caused it.</summary>
    public StableDiffusionException(string message, Exception inner) : base(message, inner) { }
}
