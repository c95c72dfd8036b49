namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>Latent * x + Model * m, with x the latent as the model sees it (unit variance) and m the model's output for it.</summary>
internal readonly record struct Linear(double Latent, double Model)
{
    public static Linear operator +(Linear a, Linear b) => new(a.Latent + b.Latent, a.Model + b.Model);

    public static Linear operator *(double factor, Linear a) => new(factor * a.Latent, factor * a.Model);
}
