r"""Forms of residual modules: how backbone features z become one expression and A identity features.

The paper names residual modules and no form; three forms are facts of its lineage, one is ours:

    distilled      z' = φ_e(z)   r[a] = φ_a(z)           z_exp = z' - Σ_a m[a] r[a]            [ours]
    simple         z_exp = W z - Σ_a m[a] P c[a]                                               [lineage]
    residual_post  z' = φ_e(z)   r[a] = φ_a([z; c[a]])   z_exp = z' - Σ_a m[a] r[a]            [lineage]
    residual_prev  z_exp = φ_e(W z - Σ_a m[a] P c[a])    r[a] = φ_a(c[a])                      [lineage]

φ = LeakyReLU ∘ BatchNorm ∘ Linear [lineage]. m[a] = 1 detaches attribute a, m[a] = 0 leaves it attached.
W and P bring z and the retrieved c[a] to one width; the lineage has z as wide as CLIP's embedding and needs
neither. A form of one's own is a subclass of `idfer.models.forms.form:ResidualForm`, given as `module:Class`.
"""
